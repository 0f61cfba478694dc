/** The JSON Schema of a configuration file, for editors. */
import { z } from 'zod';
import { documentSchema } from './schema.ts';

/** JSON Schema, draft 2020-12. What takes two places of a document to check is not in it. */
export function configurationJsonSchema(): Readonly<Record<string, unknown>> {
  const schema = z.toJSONSchema(documentSchema, { io: 'input', unrepresentable: 'any' });
  return { title: 'Weir configuration', ...schema };
}
