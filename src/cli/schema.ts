import fs from 'node:fs'
import path from 'node:path'
import { ConfigError } from '../errors.ts'
import { FINE, type Command } from './command.ts'

const KINDS = ['workflow', 'environment']

/** Prints the JSON Schema of a kind of file, or writes all of them for editors. */
export const schema: Command = {
  name: 'schema',
  summary: 'Print the JSON Schema of workflow or environment files',
  usage: ['workflow | environment', '--write [directory]'],
  words: { min: 0, max: 1 },
  options: { write: { type: 'boolean', help: 'write both below schemas/, where files name them' } },
  async run({ words, options, output }) {
    const [{ editorSchemas }, { providerList }] = await Promise.all([
      import('../workflow/editor.ts'),
      import('../channels/index.ts'),
    ])
    const schemas = editorSchemas(providerList)
    const [word] = words
    if (options.flag('write')) {
      const written = Object.entries(schemas).map(([name, text]) => {
        const file = path.join(word ?? '.', name)
        fs.mkdirSync(path.dirname(file), { recursive: true })
        fs.writeFileSync(file, text)
        return file
      })
      output.result({ written }, () => written)
      return FINE
    }
    const text = KINDS.includes(word ?? '') ? schemas[`schemas/${word}.schema.json`] : undefined
    if (text === undefined)
      throw new ConfigError(`say which schema: belfry schema ${KINDS.join(' | ')}`)
    output.raw(text)
    return FINE
  },
}
