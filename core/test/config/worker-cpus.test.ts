/** `worker-cpus`: what is read, what is refused with which words, and what it comes to on a machine. */
import { expect, test } from 'vitest';
import { workerProcessors } from '../../src/engine/worker-placement.ts';
import { processorsText } from '../../src/sys/affinity.ts';
import { faultsOf, FINE, read } from './reading.ts';

test.each([
  ['none', 'none'],
  ['auto', 'auto'],
  ['0', [0]],
  ['"8, 0-2 ,4"', [8, 0, 1, 2, 4]],
  ['8191', [8191]],
])('%s is read', async (text, value) => {
  expect(await read(`${FINE}worker-cpus: ${text}\n`)).toMatchObject({ workerCpus: value });
});

const list = 'none, auto, or processors in the order of the workers: "0-3,8"';

test.each([
  ['all', '"all" is no list of processors', list],
  ['""', '"" is no list of processors', list],
  ['0,', '"0," is no list of processors', list],
  ['-1', '-1 is no list of processors', list],
  ['1.5', '1.5 is no list of processors', list],
  ['3-1', 'the range "3-1" is upside down', 'the lower processor first: 1-3'],
  ['0-8192', 'there is no processor 8192', 'processors from 0 to 8191'],
  ['0-3,2', 'processor 2 is there twice', 'each once: workers beyond the list begin it again'],
])('%s is refused', async (text, problem, allowed) => {
  const [fault, ...others] = await faultsOf(read(`${FINE}worker-cpus: ${text}\n`));
  expect(fault).toContain(`weir.yaml:2:14: ${problem}\n`);
  expect(fault).toContain(`^ allowed: ${allowed}`);
  expect(others).toEqual([]);
});

test('what this process may use decides', () => {
  const allowed = () => [0, 1, 2, 5];
  expect(workerProcessors('none', allowed)).toEqual([]);
  expect(workerProcessors('auto', allowed)).toEqual([0, 1, 2, 5]);
  expect(workerProcessors([5, 0], allowed)).toEqual([5, 0]);
  expect(() => workerProcessors([3, 0, 4], allowed)).toThrow(
    'worker-cpus names processors 3-4, which Weir may not use here: it may use 0-2,5. Name only those',
  );
});

test('processors are written as the kernel does', () => {
  expect(processorsText([0, 1, 2, 3, 8])).toBe('0-3,8');
  expect(processorsText([8, 0, 1])).toBe('8,0-1');
});
