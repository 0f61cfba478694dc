/** Numbers as people read them. Bytes are binary units, times the two largest that matter. */
import type { Endpoint } from '../api/flow.ts';
import { addressToNumber, isAddress, numberToAddress } from '../capture/address.ts';

const STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

export function bytesText(bytes: number): string {
  let value = bytes;
  let step = 0;
  while (value >= 1024 && step < STEPS.length - 1) {
    value /= 1024;
    step++;
  }
  return `${step === 0 ? value : value.toFixed(1)} ${STEPS[step]}`;
}

export function durationText(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** `192.0.2.1:80`, `[2001:db8::1]:80`; `-` where there is none. */
export function endpointText(endpoint: Endpoint | undefined): string {
  if (endpoint === undefined) return '-';
  const { address, port } = endpoint;
  if (!address.includes(':')) return `${address}:${port}`;
  const canonical = isAddress(address) ? numberToAddress(6, addressToNumber(address)) : address;
  return `[${canonical}]:${port}`;
}

export function clockText(epoch: number): string {
  return new Date(epoch).toTimeString().slice(0, 8);
}

/** `1 flow`, `2 flows`. */
export function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
