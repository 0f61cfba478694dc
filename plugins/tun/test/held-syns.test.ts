/** A SYN that waits keeps its source, however long its upstream takes to be dialled. */
import { HeldAnswer } from '@weir/core';
import { expect, test } from 'vitest';
import { packetOf, readPacket, RST } from './packets.ts';
import { OWN, TestPath } from './path.ts';

const syn = (port: number) => packetOf({ from: [OWN[4], port], to: ['203.0.113.7', 443] });

test('the source of a flow that waits is given to nobody else', () => {
  const times = { brief: 1, linger: 1, opening: 10, idle: 10 };
  const path = new TestPath({ addresses: 1, ports: 1, held: 4, times });
  const [table] = path.held;
  expect(path.take(syn(49_152), 0)).toBeUndefined();
  expect(path.take(syn(49_152), 20)).toBeUndefined();
  path.flows.tcp4.sweep(30);
  // There is but one source.
  expect(path.take(syn(49_153), 60)).toBeUndefined();
  expect(path.counted()).toMatchObject({ natOpened: 1, natExhausted: 1 });
  table?.dialling(0, 0, 0);
  table?.end(0, HeldAnswer.refused);
  expect(path.answered(61).map((packet) => readPacket(packet))).toMatchObject([
    { ends: { to: [OWN[4], 49_152] }, flags: expect.toSatisfy((flags: number) => (flags & RST) !== 0) as number },
  ]);
  // And then it is free for another.
  expect(path.take(syn(49_153), 70)).toBeUndefined();
  expect(path.counted()).toMatchObject({ natOpened: 2, natExhausted: 1 });
});
