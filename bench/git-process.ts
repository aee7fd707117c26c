// One process of Belfry, which tells the process that forked it when it has looked at Git, and how much memory it has.
import { readConfig } from '../src/config.ts'
import { startApp } from '../src/app.ts'

/** What it is asked, and what it tells. */
export type Question = 'memory' | 'end'
export type Told =
  /** The milliseconds are those since the program was loaded. */
  | { readonly kind: 'looked'; readonly ms: number }
  | { readonly kind: 'memory'; readonly bytes: number }

const start = performance.now()
const [repo = ''] = process.argv.slice(2)
const app = await startApp(readConfig(process.env, { repo }), {
  write: (line) => process.stderr.write(line),
  human: true,
})
const tell = (told: Told) => process.send?.(told)
process.on('message', (question: Question) => {
  if (question === 'memory') tell({ kind: 'memory', bytes: process.memoryUsage().rss })
  else void app.close().then(() => process.disconnect())
})
await app.firstLook
tell({ kind: 'looked', ms: performance.now() - start })
