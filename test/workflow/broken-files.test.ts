import { providerList } from '../../src/channels/index.ts'
import { expect, test } from 'vitest'
import { validateFiles } from '../../src/workflow/validate.ts'
import { brokenFiles } from './broken-files.ts'
import { entriesOf } from './files.ts'

test.each(brokenFiles)('$name gives $diagnostic', ({ files, diagnostic }) => {
  const { diagnostics } = validateFiles(entriesOf(files), { providers: providerList })
  expect(
    diagnostics.map(({ path, line, column, code }) => `${path}:${line}:${column} ${code}`),
  ).toEqual([diagnostic])
  for (const { message, hint = '' } of diagnostics) {
    expect(message.length).toBeGreaterThan(10)
    // A message is one line for people, without the names of our libraries or their stacks.
    expect(`${message}${hint}`).not.toMatch(/\n|YAML\.|ajv|schema path|undefined|\[object/)
  }
})

test('the same files give the same list, whatever their order', () => {
  const files = Object.assign(
    {},
    ...brokenFiles.map((one, index) =>
      Object.fromEntries(
        Object.entries(one.files)
          .filter(([path]) => path.startsWith('workflows/welcome/'))
          .map(([path, content]) => [path.replace('welcome', `welcome-${index}`), content]),
      ),
    ),
  )
  const entries = [...entriesOf(files)]
  const options = { providers: providerList }
  const forwards = validateFiles(new Map(entries), options)
  const backwards = validateFiles(new Map(entries.toReversed()), options)
  expect(forwards.diagnostics.length).toBeGreaterThan(60)
  expect(backwards).toEqual(forwards)
})
