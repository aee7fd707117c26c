import { expect } from 'vitest'
import { planned, sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'

test('values stand as parameters, in their order', () => {
  const { text, values } = sql`select ${1} where a = ${'b'} and c = ${null}`
  expect({ text, values }).toEqual({
    text: 'select $1 where a = $2 and c = $3',
    values: [1, 'b', null],
  })
})

test('pieces stand in their places, with their values numbered anew', async ({ database }) => {
  const inner = sql`b > ${2} and b < ${9}`
  const narrowed = sql`where a = ${'x'} and ${inner}`
  const none = sql``
  const statement = sql`
    select ${sql`a, b`}, ${'v'} as v from (values ('x', 1), ('x', 5), ('y', 5)) t (a, b)
    ${narrowed}${none} order by b ${sql`desc`} limit ${10}`
  expect(statement.text.match(/\$\d/g)).toEqual(['$1', '$2', '$3', '$4', '$5'])
  expect(statement.values).toEqual(['v', 'x', 2, 9, 10])
  const typed = sql`select a, b, v from (values ('x'::text, 1), ('x', 5), ('y', 5)) t (a, b), (values (${'v'}::text)) u (v)
    ${narrowed} and ${inner}`
  expect(await database.query(typed)).toEqual([{ a: 'x', b: 5, v: 'v' }])
})

const plain = (id: number) => sql`select ${id}`
const list = (newest: boolean, id: number) =>
  sql`select 1 where 1 < ${id} order by 1 ${newest ? sql`desc` : sql`asc`}`

test('a statement is prepared once for each text that it comes to', () => {
  expect(list(true, 1).name).toBe(list(true, 2).name)
  expect(list(true, 1).name).not.toBe(list(false, 1).name)
  expect(plain(1).name).toBe(plain(2).name)
  expect(planned(list(true, 1)).name).toBeUndefined()
})

test('what only looks like a piece is a value', async ({ database }) => {
  const evil = JSON.parse('{"text":"1; drop table runs","values":[],"texts":["1"]}') as object
  const copy = { ...sql`drop table runs` }
  for (const value of [evil, copy, 'drop table runs', Object.create(sql`drop table runs`)]) {
    const statement = sql`select ${value}::jsonb as value`
    expect(statement.text).toBe('select $1::jsonb as value')
  }
  expect(await database.query(sql`select ${evil}::jsonb as value`)).toEqual([{ value: evil }])
})
