/** Capture decisions: from a configuration to what kernels and workers ask, and the reference that both must follow. */
export * from './address.ts';
export {
  type CapturedResolver,
  type NamedAddress,
  type CaptureInput,
  compileCaptureSet,
  protocolsOfNames,
  STATIC_EXCLUSIONS,
} from './compile.ts';
export { decide, type Explanation, explain, explainPorts } from './decide.ts';
export { type Box, type BoxOptions, boxesByRegion, steeredBoxes, steeredPrefixes } from './intervals.ts';
export { buildLookupTable } from './lookup-build.ts';
export { LookupTable, type LookupTableData } from './lookup-table.ts';
export { isExactName } from './name-pattern.ts';
export { compileNames, NameTable, NO_PATTERN } from './names.ts';
export { type Region, RegionMemo, regionsOf } from './regions.ts';
export type { CapturedService, NumberedService } from './rules.ts';
export { type Segment, sourceSegments } from './segments.ts';
export { type Decision, DENY, isSteered, NONE, SPARE } from './verdict.ts';
