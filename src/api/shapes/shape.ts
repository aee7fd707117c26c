/** A JSON Schema. One with a `title` is a component of our contract: what refers to it there names it. */
export type Schema = Readonly<Record<string, unknown>>

export const text = { type: 'string' } as const
export const nullableText = { type: ['string', 'null'] } as const
export const time = { type: 'string', format: 'date-time' } as const
export const nullableTime = { type: ['string', 'null'], format: 'date-time' } as const
export const uuid = { type: 'string', format: 'uuid' } as const
export const flag = { type: 'boolean' } as const
export const nullableFlag = { type: ['boolean', 'null'] } as const
export const count = { type: 'integer', minimum: 0 } as const
/** An object of anything. */
export const json = { type: 'object', additionalProperties: true } as const
export const nullableJson = { type: ['object', 'null'], additionalProperties: true } as const
export const anything = {} as const

interface ShapeOptions {
  readonly description?: string
  /** Fields that may be missing. */
  readonly optional?: readonly string[]
  /** Whether it has other fields, too. */
  readonly isOpen?: true
}

/** An object of a reply: all of its fields are there, but for those that are optional. */
export function shape(
  fields: Readonly<Record<string, Schema>>,
  { description, optional = [], isOpen }: ShapeOptions = {},
): Schema {
  return {
    ...(description !== undefined && { description }),
    type: 'object',
    required: Object.keys(fields).filter((name) => !optional.includes(name)),
    properties: fields,
    ...(isOpen && { additionalProperties: true }),
  }
}

/** As `shape`, of an object that has a name in our contract. */
export function component(
  title: string,
  fields: Readonly<Record<string, Schema>>,
  options?: ShapeOptions,
): Schema {
  return { title, ...shape(fields, options) }
}

/** As `component`, of an object that says by itself what it is. */
export function entity(
  title: string,
  fields: Readonly<Record<string, Schema>>,
  options?: ShapeOptions,
): Schema {
  return component(title, { __typename: { const: title }, ...fields }, options)
}

export function listOf(items: Schema): Schema {
  return { type: 'array', items }
}

export function oneOf(values: readonly unknown[]): Schema {
  return { enum: values }
}

export function orNull(schema: Schema): Schema {
  return { anyOf: [schema, { type: 'null' }] }
}

/** An object whose properties have names of their own choice. */
export function mapOf(values: Schema): Schema {
  return { type: 'object', additionalProperties: values }
}

export const PageInfo = entity('PageInfo', {
  after: { ...nullableText, description: 'The cursor of the next page; null at the end.' },
  before: { ...nullableText, description: 'The cursor of the page before; null at the start.' },
  page_size: count,
})

/** A page of these, under the name that the contract has for it. */
export function pageShape(name: 'entries' | 'items', item: Schema): Schema {
  return component(`${String(item['title'])}Page`, { [name]: listOf(item), page_info: PageInfo })
}

export const Problem = component(
  'Error',
  {
    code: { ...text, description: 'A stable word.' },
    message: text,
    status: { type: 'integer' },
    type: text,
    errors: listOf(
      component('Violation', {
        field: {
          ...text,
          description: 'A JSON Pointer into the body, `?/…` into the query, or `path`.',
        },
        message: text,
      }),
    ),
  },
  { optional: ['errors'] },
)
