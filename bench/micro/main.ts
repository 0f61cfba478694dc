/** `npm run bench -- --micro`: the parts that the data plane and the resolver are made of, one by one, with tinybench. */
import { Bench } from 'tinybench';
import { addresses } from './addresses.ts';
import { dnsMessages } from './dns-messages.ts';
import { lookUps } from './look-ups.ts';
import type { MicroSuite } from './suite.ts';
import { systemCalls } from './system-calls.ts';

/** Calls per sample. */
const BATCH = 1000;

/** Where results go, so that none is dead code. */
const sink: { last: unknown } = { last: undefined };

async function runSuite(suite: MicroSuite, say: (text: string) => void, milliseconds: number): Promise<void> {
  const bench = new Bench({ time: milliseconds, warmupTime: milliseconds / 4 });
  for (const { name, once } of suite.cases) {
    bench.add(name, () => {
      for (let n = 0; n < BATCH; n++) sink.last = once(n);
    });
  }
  await bench.run();
  say(`\n${suite.name}`);
  for (const task of bench.tasks) {
    const { result } = task;
    if (result.state !== 'completed') throw new Error(`${task.name} did not complete: ${result.state}`);
    const nanoseconds = (ms: number) => ((ms * 1e6) / BATCH).toFixed(0).padStart(8);
    say(
      `   ${task.name.padEnd(52)}${nanoseconds(result.latency.p50)} ns${nanoseconds(result.latency.p99)} ns` +
        `${Math.round(1e9 / ((result.latency.p50 * 1e6) / BATCH))
          .toLocaleString('en')
          .padStart(14)} /s`,
    );
  }
}

/** Runs all of it; `milliseconds` of measuring per case. */
export async function runMicro(say: (text: string) => void, milliseconds = 300): Promise<void> {
  say(`${''.padEnd(55)}${'median'.padStart(11)}${'p99'.padStart(11)}`);
  for (const make of [lookUps, addresses, dnsMessages, systemCalls]) {
    const suite = make();
    try {
      await runSuite(suite, say, milliseconds);
    } finally {
      suite.close?.();
    }
  }
}
