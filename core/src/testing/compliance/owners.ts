/** Whose traffic is captured: that of chosen users, and what passes through whatever they are. */
import { strict as assert } from 'node:assert';
import { realEndpoints, server, udpServices, upstreamEndpoints } from './datagram-clients.ts';
import { forwarded, onStage, type StagedCase } from './case.ts';
import { SIDES, type Stage } from './stage.ts';
import { webServices } from './steering.ts';

/** The user that clients run as, and one that is nobody's here. */
const [OURS, ANOTHER] = [`uid:${process.getuid?.() ?? 0}`, 'uid:4711-4712'];

/** Services of the protocol, and who answers a new client at the captured address of each side. */
const ASKING = {
  tcp: {
    services: webServices,
    ask: async (stage: Stage) => {
      const answers = SIDES.map(({ capturedHost }) => stage.get(`http://${capturedHost}/`));
      return (await Promise.all(answers)).map((answer) => answer.server);
    },
    servers: async (stage: Stage) => {
      await stage.http('real', 80);
      await stage.http('upstream', 8080);
    },
  },
  udp: {
    services: udpServices,
    ask: (stage: Stage) => Promise.all(SIDES.map(({ capturedHost }) => server(stage, `${capturedHost}:7000`))),
    servers: async (stage: Stage) => {
      await stage.udp('real', realEndpoints(7000));
      await stage.udp('upstream', upstreamEndpoints());
    },
  },
} as const;

type Choice = readonly [capture: object, answer: 'upstream' | 'real'];

/** Each of these starts proves that its test flows are captured whoever is chosen. */
const ONLY: Choice = [{ only: [OURS] }, 'upstream'];
const CHOICES: readonly Choice[] = [ONLY, [{ only: [ANOTHER] }, 'real'], [{ except: [OURS] }, 'real']];
const DATAGRAM_CHOICES: readonly Choice[] = [ONLY, [{ only: [OURS, ANOTHER], except: [OURS] }, 'real']];

async function users(stage: Stage, protocol: 'tcp' | 'udp', choices: readonly Choice[]): Promise<void> {
  const { services, ask, servers } = ASKING[protocol];
  await servers(stage);
  for (const [capture, answer] of choices) {
    const weir = await stage.weir({ services: services(), capture, timeouts: { drain: '1s' } });
    assert.deepEqual(await ask(stage), [answer, answer], JSON.stringify(capture));
    assert.equal((await weir.stop()).code, 0);
  }
}

/** No process of this host sends what passes through it. */
async function passedOn(stage: Stage): Promise<void> {
  const { services, ask, servers } = ASKING.tcp;
  await servers(stage);
  const forward = { interfaces: ['lan0'] };
  await stage.weir({ services: services(), capture: { scopes: ['output', 'forward'], forward, except: [OURS] } });
  assert.deepEqual(await ask(stage), ['upstream', 'upstream']);
  for (const { capturedHost } of SIDES) {
    const own = await stage.host.check(['curl', '-sS', '-m', '10', `http://${capturedHost}/`]);
    assert.match(own, /"real"/, 'the host itself reaches the real host');
  }
}

const BY_USER = { routed: true, owners: 'uid', timeoutMs: 120_000 } as const;

export const OWNER_CASES: readonly StagedCase[] = [
  onStage('connections are captured of chosen users only', (stage) => users(stage, 'tcp', CHOICES), BY_USER),
];

export const DATAGRAM_OWNER_CASES: readonly StagedCase[] = [
  onStage('UDP is captured of chosen users only', (stage) => users(stage, 'udp', DATAGRAM_CHOICES), BY_USER),
];

export const FORWARD_OWNER_CASES: readonly StagedCase[] = forwarded([
  onStage('what passes through is captured whichever users are chosen', passedOn, BY_USER),
]);
