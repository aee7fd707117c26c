// Speeds, as ratios in one run on one machine, each beside a peer or the bare figure.
import { print } from './figures.ts'
import { measureGit } from './git.ts'
import { openGround } from './ground.ts'
import { measureRuns } from './runs.ts'
import { measureTemplates } from './templates.ts'
import { measureTrigger } from './trigger.ts'

const WORKFLOWS = 1_000

const figures = await measureGit()
await using ground = await openGround(WORKFLOWS)
const templates = measureTemplates()
print([await measureTrigger(ground), ...figures, await measureRuns(ground), templates])
