import fs from 'node:fs'
import path from 'node:path'
import { FINE, type Command, type CommandContext } from './command.ts'

const IGNORED = '.belfry'

/** Puts the first files into a repository; it never touches one that is there, but for `.gitignore`. */
export const init: Command = {
  name: 'init',
  summary: 'Put environments, a workflow and editor schemas into a repository',
  usage: ['[directory]'],
  words: { min: 0, max: 1 },
  options: {},
  async run({ words, output, host }) {
    const root = path.resolve(words[0] ?? '.')
    const [{ initFiles }, { providerList }] = await Promise.all([
      import('./init-files.ts'),
      import('../channels/index.ts'),
    ])
    const written: string[] = []
    const kept: string[] = []
    for (const [name, text] of Object.entries(initFiles(providerList)))
      (writeNew(path.join(root, name), text) ? written : kept).push(name)
    if (ignoreDataDirectory(root)) written.push('.gitignore')
    output.result({ written, kept }, () => [
      ...written.map((name) => `wrote  ${name}`),
      ...kept.map((name) => `kept   ${name}`),
    ])
    adviseNext(root, { output, host })
    return FINE
  },
}

/** False where the file is there already. */
function writeNew(file: string, text: string): boolean {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  try {
    fs.writeFileSync(file, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** The data directory holds a database and keys. False where it is ignored already. */
function ignoreDataDirectory(root: string): boolean {
  const file = path.join(root, '.gitignore')
  const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''
  if (text.split('\n').some((line) => line.trim().replaceAll('/', '') === IGNORED)) return false
  const gap = text === '' || text.endsWith('\n') ? '' : '\n'
  fs.appendFileSync(file, `${gap}${IGNORED}\n`)
  return true
}

function adviseNext(root: string, { output, host }: Pick<CommandContext, 'output' | 'host'>): void {
  if (!fs.existsSync(path.join(root, '.git'))) output.note('next: git init')
  output.note(`next: ${host.program} serve --dev`)
}
