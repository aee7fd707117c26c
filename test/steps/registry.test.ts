import { describe, expect, test } from 'vitest'
import { listStepTypes, stepTypes } from '../../src/steps/index.ts'
import type { StepBase } from '../../src/steps/step.ts'
import { validateWorkflow } from '../../src/workflow/schema.ts'

const problemsOf = (step: object): readonly string[] =>
  validateWorkflow({ name: 'A workflow', steps: [step] }).map(({ message }) => message ?? '')

function valueAt(value: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce((one, key) => (one as Record<string | number, unknown>)[key], value)
}

test('each type stands under its own name', () => {
  for (const [name, { type }] of Object.entries(stepTypes)) expect(type).toBe(name)
})

describe.each(listStepTypes())('a step of type $type', (stepType) => {
  const { type, schema, example, channelType, conditional } = stepType
  const step = { ref: 'one', type, ...example } as unknown as StepBase

  test('is accepted as its example shows it', () => {
    expect(problemsOf(step)).toEqual([])
  })

  test('shows each of its fields, and no other', () => {
    expect(Object.keys(example).toSorted()).toEqual(Object.keys(schema.properties).toSorted())
  })

  test('describes each of its fields', () => {
    for (const property of Object.values(schema.properties)) {
      expect(property).toHaveProperty('description')
    }
  })

  test.each(['ref', ...schema.required])('is refused without %s', (key) => {
    const { [key as 'ref']: _, ...rest } = step
    expect(problemsOf(rest)).not.toEqual([])
  })

  test('is refused with an unknown key', () => {
    expect(problemsOf({ ...step, unknown_key: 1 })).not.toEqual([])
  })

  test('takes conditions unless it has its own', () => {
    const conditions = { all: [{ variable: 'data.a', operator: 'equal_to', argument: 1 }] }
    expect(problemsOf({ ...step, conditions }).length === 0).toBe(conditional)
  })

  test('names templates and paths where they stand', () => {
    for (const { path, template } of stepType.templates(step))
      expect(valueAt(step, path)).toBe(template)
    for (const { path, value } of stepType.paths?.(step) ?? [])
      expect(valueAt(step, path)).toBe(value)
    for (const { path, steps } of stepType.children?.(step) ?? [])
      expect(valueAt(step, path)).toBe(steps)
  })

  test('sends through a channel exactly if it can name one', () => {
    expect('channel' in schema.properties).toBe(channelType !== undefined)
    // What is stored is delivered at once, and cannot come too late.
    const waits = channelType !== undefined && channelType !== 'in_app'
    // There it is the wait itself that ends.
    if (type === 'wait_for_event') return
    expect('expires_after' in schema.properties).toBe(waits)
  })
})
