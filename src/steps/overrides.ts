import { isJsonObject } from '../json.ts'
import { plainTreeFields } from './fields.ts'
import type { Overrides, StepContext, TemplateField, TemplateTree } from './step.ts'

/** What a step has whose message goes to a service by a request. */
export interface OverrideFields {
  /** By provider: what is laid over the body of its request. */
  readonly overrides?: Readonly<Record<string, { readonly [key: string]: TemplateTree }>>
}

export const overridesSchema = {
  description:
    'By provider, what is laid over the body of its request, last: maps are merged, null takes a field away. Every text in it is a template; one that is a single expression keeps the type of its value.',
  type: 'object',
  additionalProperties: { type: 'object' },
} as const

/** The templates of overrides. They are kept as they were rendered, so that no secret may stand in them. */
export function overrideTemplates({ overrides }: OverrideFields): readonly TemplateField[] {
  return plainTreeFields(['overrides'], overrides)
}

/** The overrides of all providers, since which one takes the message is known at its hand-over only. */
export function overridesOf(
  { overrides }: OverrideFields,
  context: StepContext,
): { readonly overrides?: Overrides } {
  if (overrides === undefined) return {}
  const rendered = context.renderTree(overrides)
  return isJsonObject(rendered) ? { overrides: rendered as Overrides } : {}
}
