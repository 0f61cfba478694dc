/** What a client would be told, and by whom: `weir dns query`. */
import { UsageError } from '../api/errors.ts';
import { isAddress } from '../capture/address.ts';
import { describeResponse } from '../dns/describe.ts';
import { HEADER_BYTES, typeCode, typeName } from '../dns/message.ts';
import type { Responder } from '../dns/responder.ts';
import { reverseNameOf } from '../dns/reverse-name.ts';
import { encodeQuery } from '../dns/upstream-message.ts';
import type { QueryReport } from './name-report.ts';

/**
 * @param name a domain name; of an address, whose name is asked for, `A` and `PTR` mean the same.
 * @throws UsageError when the name or the type is none.
 */
export async function reportQuery(
  responder: Responder,
  nameOrAddress: string,
  wantedType: string,
  signal: AbortSignal,
): Promise<QueryReport> {
  const reverse = isAddress(nameOrAddress) && /^(?:A|PTR)$/i.test(wantedType);
  const [name, type] = reverse ? [reverseNameOf(nameOrAddress), 'PTR'] : [nameOrAddress, wantedType];
  let message: Buffer;
  let asked: string;
  try {
    asked = typeName(typeCode(type.toUpperCase()));
    message = encodeQuery(name, asked);
  } catch (error) {
    const problem = `${(error as Error).message}.`;
    throw new UsageError({ problem, remedy: 'Give a name and a type as A, AAAA or MX.', cause: error });
  }
  const begun = performance.now();
  const { response, by } = await responder.explain(message, 'tcp', signal);
  const durationMs = Math.round((performance.now() - begun) * 10) / 10;
  const report = { name, type: asked, durationMs, ...(by === undefined ? {} : { resolver: by }) };
  if (response === undefined) return { ...report, outcome: 'none', authoritative: false, answers: [], authority: [] };
  const questionLength = message.length - HEADER_BYTES - 11;
  const { code, ...rest } = describeResponse(response, questionLength);
  return { ...report, outcome: code, ...rest };
}
