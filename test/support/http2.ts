import { once } from 'node:events'
import type http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { HttpFake, Responder, TakenRequest } from './http.ts'

/** A server as `startHttp` starts one, which speaks HTTP/2 without TLS. */
export async function startHttp2(
  respond: Responder,
): Promise<HttpFake & { readonly sessions: () => number }> {
  const requests: TakenRequest[] = []
  const sessions = new Set<http2.ServerHttp2Session>()
  let opened = 0
  const server = http2.createServer((incoming, response) => {
    const take = async () => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      const request = {
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers as http.IncomingHttpHeaders,
        body: Buffer.concat(chunks).toString(),
      }
      requests.push(request)
      await respond(request, response as unknown as http.ServerResponse, requests.length - 1)
    }
    take().catch(() => response.stream.destroy())
  })
  server.on('session', (session) => {
    opened += 1
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    sessions: () => opened,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
