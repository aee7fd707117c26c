import type { StepContext, TemplateText } from '../../src/steps/step.ts'

/** What a step of a test runs in: each template renders to its own text, or to its file's name. */
export function aContext(given: Partial<StepContext> = {}): StepContext {
  return {
    now: new Date('2026-03-01T12:00:00Z'),
    timeZone: 'Europe/Berlin',
    scope: {
      recipient: { id: 'ann', email: 'ann@example.com' },
      actor: null,
      tenant: null,
      data: {},
      vars: {},
      workflow: {},
      run: {},
      refs: {},
      event: null,
      activities: [],
      actors: [],
      total_activities: 1,
      total_actors: 0,
    },
    waited: false,
    matched: false,
    skipDelay: false,
    openingData: {},
    addresses: [],
    render: textOf,
    renderHtml: (template, layout) =>
      layout === undefined ? textOf(template) : `<${layout}>${textOf(template)}</${layout}>`,
    renderLayout: (layout, content) => `<${layout}>${content}</${layout}>`,
    renderTree: (tree) => tree,
    hasLayout: () => false,
    ...given,
  }
}

/** As `aContext`, with this data in the scope. */
export function withData(
  data: Readonly<Record<string, unknown>>,
  given: Partial<StepContext> = {},
): StepContext {
  const context = aContext(given)
  return { ...context, openingData: data, scope: { ...context.scope, data } }
}

function textOf(template: TemplateText): string {
  return typeof template === 'string' ? template : template.file
}
