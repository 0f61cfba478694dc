/** Whether this machine can run the tun interceptor. Opens /dev/net/tun and makes no device. */
import { type MissingRequirement, type ProbeResult, UnsupportedError } from '@weir/core';
import { hasCapability, IFF_VNET_HDR, libc, openTun, tunFeatures } from '@weir/core/sys';

function missing(kind: MissingRequirement['kind'], name: string, remedy: string): MissingRequirement {
  return { kind, name, remedy };
}

/** @returns what is missing, with the way to get it. Changes nothing. */
export function probe(environment: NodeJS.ProcessEnv = process.env): ProbeResult {
  if (environment['WEIR_TUN'] === 'off') {
    return {
      verdict: 'unsupported',
      missing: [missing('config', 'WEIR_TUN=off', 'Unset WEIR_TUN, or use another interceptor.')],
    };
  }
  const lacking: MissingRequirement[] = [];
  if (!hasCapability('CAP_NET_ADMIN')) {
    const remedy = 'Run Weir as root, or give it CAP_NET_ADMIN (setcap, systemd AmbientCapabilities).';
    lacking.push(missing('capability', 'CAP_NET_ADMIN', remedy));
  }
  try {
    const fd = openTun();
    const features = tunFeatures(fd);
    libc.close(fd);
    if ((features & IFF_VNET_HDR) === 0) {
      lacking.push(missing('kernel', 'IFF_VNET_HDR of tun devices', 'Use Linux 5.0 or newer, or another interceptor.'));
    }
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    lacking.push(missing('device', '/dev/net/tun', error.remedy));
  }
  if (lacking.length > 0) return { verdict: 'unsupported', missing: lacking };
  return { verdict: 'supported', facts: { device: '/dev/net/tun' } };
}
