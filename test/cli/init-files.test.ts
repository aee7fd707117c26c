import { expect, test } from 'vitest'
import { providerList } from '../../src/channels/index.ts'
import { initFiles } from '../../src/cli/init-files.ts'
import { validateFiles } from '../../src/workflow/validate.ts'
import { entriesOf } from '../workflow/files.ts'

const shapes = providerList
const files = initFiles(shapes)

test('a new project has a workflow and three environments, and nothing wrong', () => {
  expect(validateFiles(entriesOf(files), { providers: shapes, strict: true })).toEqual({
    diagnostics: [],
    workflows: 1,
    environments: 3,
    errors: 0,
    warnings: 0,
  })
})

test('a new project needs no secret', () => {
  const own = Object.entries(files).filter(([path]) => !path.startsWith('schemas/'))
  expect(own.map(([, text]) => text).join('\n')).not.toMatch(/\{ secret: [A-Z]/)
})

test('each of its YAML files names a schema that is there', () => {
  for (const [path, text] of Object.entries(files)) {
    if (!path.endsWith('.yaml')) continue
    const named = /^# yaml-language-server: \$schema=(\S+)/.exec(text)?.[1] ?? 'none'
    expect(files).toHaveProperty([new URL(named, `file:///${path}`).pathname.slice(1)])
  }
})
