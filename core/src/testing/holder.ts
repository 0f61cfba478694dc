/**
 * The process that keeps a private host alive: it owns a network and a mount namespace and reads a pipe from us. When the
 * pipe closes (we let go, or we were killed) it ends every process in its network namespace, then itself, and the kernel
 * removes the rest. Nothing of it is in a file system, so nothing can be left behind.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { UnsupportedError } from '../api/errors.ts';

/** How a host's /etc/resolv.conf comes to be: mounted over (as in containers), or an ordinary file that can be renamed. */
export type ResolvConfKind = 'mount' | 'file';

// Each line that may fail for a good reason (a kernel without IPv6, a read-only /proc/sys) says so with `|| :`.
const SCRIPT = `
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/.weir-testing/cgroup
if [ "$1" = mount ] && [ -f /etc/resolv.conf ] && [ ! -L /etc/resolv.conf ]; then
  : > /run/.weir-testing/resolv.conf
  mount --bind /run/.weir-testing/resolv.conf /etc/resolv.conf
else
  mkdir -p /run/.weir-testing/etc
  cp -a /etc/. /run/.weir-testing/etc 2>/dev/null || :
  rm -f /run/.weir-testing/etc/resolv.conf
  : > /run/.weir-testing/etc/resolv.conf
  mount --bind /run/.weir-testing/etc /etc
fi
mount --rbind /sys/fs/cgroup /run/.weir-testing/cgroup 2>/dev/null || :
mount -t sysfs sysfs /sys 2>/dev/null || :
mount --rbind /run/.weir-testing/cgroup /sys/fs/cgroup 2>/dev/null || :
for key in accept_dad=0 accept_ra=0 router_solicitations=0; do
  for scope in all default; do echo "\${key#*=}" > "/proc/sys/net/ipv6/conf/$scope/\${key%=*}" 2>/dev/null || :; done
done
ip link set lo up
echo ready
trap '' INT TERM HUP
set +e
while read -r line; do :; done
own=$(readlink /proc/self/ns/net)
id=\${own#net:?}; id=\${id%?}
for round in 1 2 3 4 5; do
  others=0
  for link in $(find /proc/[0-9]*/ns/net -maxdepth 0 -lname "net:?$id?" 2>/dev/null); do
    pid=\${link#/proc/}; pid=\${pid%%/*}
    [ "$pid" = $$ ] && continue
    kill -KILL "$pid" 2>/dev/null && others=1
  done
  [ $others = 0 ] && break
done
exit 0
`;

export interface Holder {
  readonly pid: number;
  /** Inode of the network namespace, the number in `net:[…]`. */
  readonly netns: string;
  /** Ends every process in the namespace and resolves when the holder is gone. */
  release(): Promise<void>;
}

/** Which of these refuses depends on the distribution. */
export const ALLOW_USER_NAMESPACES =
  'sysctl -w user.max_user_namespaces=15000, and where they exist kernel.unprivileged_userns_clone=1 and ' +
  'kernel.apparmor_restrict_unprivileged_userns=0';

const REMEDY =
  'Run as root, or start the whole process inside a user namespace: unshare -Urnm <command>. ' +
  `Where that is refused, allow it: ${ALLOW_USER_NAMESPACES}.`;

/**
 * Starts a holder.
 * @throws UnsupportedError when this machine or this user cannot have private namespaces; names what is missing.
 */
export async function startHolder(resolvConf: ResolvConfKind): Promise<Holder> {
  // A group of its own, so that Ctrl-C in a terminal does not end it before it has cleaned up.
  const child = spawn('unshare', ['--net', '--mount', 'sh', '-c', SCRIPT, 'weir-test-host', resolvConf], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const exited = exitOf(child);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => {}); // EPIPE when the holder failed; its exit says why
  const ready = await Promise.race([isReady(child), exited.then(() => false)]);
  if (!ready || child.pid === undefined) {
    throw new UnsupportedError({
      problem: `Private network namespaces cannot be made here: ${stderr.trim() || 'unshare did not start'}.`,
      remedy: REMEDY,
    });
  }
  return {
    pid: child.pid,
    netns: readlinkSync(`/proc/${child.pid}/ns/net`).slice('net:['.length, -1),
    async release() {
      child.stdin.end();
      await exited;
    },
  };
}

async function isReady(child: ChildProcess): Promise<boolean> {
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk);
    if (/^ready$/m.test(text)) return true;
  }
  return false;
}

async function exitOf(child: ChildProcess): Promise<void> {
  try {
    await once(child, 'close');
  } catch {
    // 'error' instead: unshare is not installed. The caller sees that there is no pid.
  }
}
