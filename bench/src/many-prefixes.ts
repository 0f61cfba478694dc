/** A capture set that does not shrink: prefixes of which none can be joined with its neighbour. */

/** In nobody's way. */
export const OTHER_PREFIX = '198.18.7.0/24';

/** Every other /24 from 20.0.0.0 on. */
export const manyPrefixes = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `${20 + (n >> 15)}.${(n >> 7) & 255}.${(n & 127) * 2}.0/24`);
