import { environmentSchema, type ProviderShape } from './environment-schema.ts'
import { workflowSchema } from './schema.ts'

/** The schemas that editors check and complete files with, by path from the repository's root. */
export function editorSchemas(
  providers: readonly ProviderShape[],
): Readonly<Record<string, string>> {
  return {
    'schemas/workflow.schema.json': print(workflowSchema()),
    'schemas/environment.schema.json': print(environmentSchema(providers)),
  }
}

/** `discriminator` says to ajv what `oneOf` says to all, and editors report it as unknown. */
function print(schema: object): string {
  const text = JSON.stringify(
    schema,
    (key, value: unknown) => (key === 'discriminator' ? undefined : value),
    2,
  )
  return `${text}\n`
}
