// A process that holds the server of the data directory named by its argument, for tests that kill it.
// It says the server's address, and lets go when its input ends.
import process from 'node:process'
import { startEmbedded } from '../../src/db/embedded.ts'

const server = await startEmbedded(process.argv[2] ?? '', { settings: { fsync: 'off' } })
process.stdout.write(`${server.url}\n`)
for await (const _ of process.stdin);
await server.stop()
process.exit(0)
