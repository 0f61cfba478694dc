/** What checks look at. Read once, so that all of them speak of the same moment. */
import type { DialerDefinition } from '../api/dialer.ts';
import type { HostFacts, HostNumbers } from '../api/host.ts';
import type { InterceptorDefinition } from '../api/interceptor.ts';
import type { Configuration } from '../config/model.ts';
import type { Firewall } from './firewall.ts';
import type { Finding } from './report.ts';

export interface DoctorContext {
  readonly configuration: Configuration;
  /** Of all plugins that it loads. */
  readonly dialerTypes: ReadonlyMap<string, DialerDefinition<never>>;
  readonly facts: HostFacts;
  /** Those that this owner has, or would claim. */
  readonly numbers: HostNumbers;
  /** Owners that run now, this one too. */
  readonly living: ReadonlySet<string>;
  readonly firewall: Firewall;
  /** The interceptor that would be selected, as far as probes can tell; absent: none that captures. */
  readonly interceptor: InterceptorDefinition<never> | undefined;
}

export type Check = (context: DoctorContext) => readonly Finding[] | Promise<readonly Finding[]>;
