import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The service of a provider, on this machine: it takes whatever is handed over to it. */
export interface Service extends AsyncDisposable {
  readonly url: string
  /** Resolves with the time on the watch at which the next message for that name is handed over. */
  next(name: string): Promise<number>
}

export async function openService(): Promise<Service> {
  const waiting = new Map<string, (at: number) => void>()
  const server = createServer((request, reply) => {
    const at = performance.now()
    request.resume()
    reply.end()
    const name = request.url?.slice(1) ?? ''
    waiting.get(name)?.(at)
    waiting.delete(name)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    next: (name) => new Promise((resolve) => waiting.set(name, resolve)),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
