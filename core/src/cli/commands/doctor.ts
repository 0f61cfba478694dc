/** `weir doctor`: what each interceptor lacks here, what is in Weir's way, and how to mend it. Changes nothing. */
import type { DoctorReport, Finding } from '../../doctor/report.ts';
import { createLogger } from '../../observe/logger.ts';
import { configurationOrDefaults, type GivenOptions } from '../configuration.ts';
import { type CommandContext, type Output, paint, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { table } from '../table.ts';
import { counted } from '../units.ts';

function remedies(output: Output, findings: readonly Finding[]): string {
  let text = '';
  for (const finding of findings) {
    if (finding.remedy === undefined) continue;
    const style = finding.severity === 'problem' ? 'red' : 'yellow';
    text += `\n${paint(output, style, finding.check)}: ${finding.what}\n  ${finding.remedy}\n`;
    if (finding.command !== undefined) text += `    ${finding.command}\n`;
  }
  return text;
}

/** Exported for tests: the page of one report. */
export function doctorPage(output: Output, { backends, findings, usable }: DoctorReport): string {
  const bad = findings.filter(({ severity }) => severity !== 'ok');
  const backendRows = backends.map(({ interceptor, verdict, detail, missing }) => [
    interceptor,
    verdict,
    [detail, ...missing.map(({ name, remedy }) => `${name}: ${remedy}`)].join(' — '),
  ]);
  const checkRows = findings.map((finding) => [finding.check, finding.severity, finding.what]);
  const problems = bad.filter(({ severity }) => severity === 'problem').length;
  const conclusion = usable
    ? `${counted(problems, 'problem')}, ${counted(bad.length - problems, 'warning')}`
    : 'no interceptor that captures can run here';
  return [
    table(output, [{ title: 'INTERCEPTOR' }, { title: 'VERDICT' }, { title: 'DETAIL' }], backendRows),
    '\n',
    table(output, [{ title: 'CHECK' }, { title: 'STATE' }, { title: 'WHAT' }], checkRows),
    remedies(output, bad),
    `\n${conclusion}\n`,
  ].join('');
}

export async function doctor(
  context: CommandContext,
  file: string | undefined,
  options: GivenOptions & { readonly json?: boolean },
): Promise<number> {
  const configuration = await configurationOrDefaults(context, file, options);
  const { examine } = await import('../../doctor/examine.ts');
  const report = await examine(configuration, createLogger({ level: 'silent', format: 'json' }));
  if (options.json === true) writeJson(context.stdout, report);
  else context.stdout.write(doctorPage(context.stdout, report));
  if (!report.usable) return EXIT.noInterceptor;
  return report.findings.some(({ severity }) => severity === 'problem') ? EXIT.drift : EXIT.done;
}
