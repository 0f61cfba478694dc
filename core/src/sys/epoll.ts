/**
 * struct epoll_event (linux/eventpoll.h): packed to 12 bytes on x86, 16 bytes elsewhere. `events` u32 @0; `data` is
 * used as two u32: `low` and `high`.
 */
import { arch } from 'node:process';

const PACKED = arch === 'x64' || arch === 'ia32';

/** Bytes of one event in an array. */
export const EPOLL_EVENT_SIZE = PACKED ? 12 : 16;
/** Where `data` stands in an event. */
export const EPOLL_DATA_OFFSET = PACKED ? 4 : 8;

/** Fills an event for epoll_ctl. */
export function writeEpollEvent(view: DataView, events: number, low: number, high: number): void {
  view.setUint32(0, events >>> 0, true);
  view.setUint32(EPOLL_DATA_OFFSET, low >>> 0, true);
  view.setUint32(EPOLL_DATA_OFFSET + 4, high >>> 0, true);
}
