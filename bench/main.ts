// Speeds, as ratios in one run on one machine, each beside a peer or the bare figure: `npm run bench`, or some of the
// lines: `npm run bench -- runs sleeping`.
import { print, type Figure } from './figures.ts'
import { measureGit } from './git.ts'
import { openGround, type Ground } from './ground.ts'
import { measureHandOver, measureNewcomer } from './hand-over.ts'
import { measureLoad } from './load.ts'
import { measureProcesses, measureRuns } from './runs.ts'
import { measureSleeping } from './sleeping.ts'
import { measureTemplates } from './templates.ts'
import { measureTrigger } from './trigger.ts'

const WORKFLOWS = 1_000

/** In the order in which they are measured: those that leave much behind come last. */
const LINES: Readonly<Record<string, (ground: Ground) => Promise<readonly Figure[]>>> = {
  templates: async () => measureTemplates(),
  trigger: measureTrigger,
  'hand-over': measureHandOver,
  load: measureLoad,
  runs: measureRuns,
  processes: measureProcesses,
  newcomer: measureNewcomer,
  sleeping: measureSleeping,
}

const named = process.argv.slice(2)
const unknown = named.find((name) => name !== 'git' && !(name in LINES))
if (unknown !== undefined)
  throw new Error(`there is no line ${unknown}: name some of git ${Object.keys(LINES).join(' ')}`)
const isWanted = (name: string) => named.length === 0 || named.includes(name)

const figures: Figure[] = isWanted('git') ? [...(await measureGit())] : []
const lines = Object.entries(LINES).filter(([name]) => isWanted(name))
if (lines.length > 0) {
  await using ground = await openGround(WORKFLOWS)
  try {
    for (const [, measure] of lines) figures.push(...(await measure(ground)))
  } finally {
    print(figures)
  }
} else print(figures)
