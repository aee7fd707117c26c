import { checkDataSchema, compileDataSchema } from './data-schema.ts'
import { errorAt, type Diagnostic } from './diagnostic.ts'
import type { ParsedFile } from './parse.ts'
import type { Trigger } from './workflow.ts'

/** Whoever joins an audience brings no data: a schema that wants some would keep everybody out. */
export function checkAudiences(
  file: ParsedFile,
  { audiences, data_schema: schema }: Trigger,
): readonly Diagnostic[] {
  if (audiences === undefined || schema === undefined || checkDataSchema(schema)) return []
  const [violation] = compileDataSchema(schema)({})
  if (!violation) return []
  const message = `joining an audience brings no data, which the data schema does not take: data${violation.field} ${violation.message}`
  const hint = 'Require nothing of the data, or start the workflow in another way.'
  const at = file.locate(['trigger', 'audiences'])
  return [errorAt(file.path, at, { code: 'audience_data', message, hint })]
}
