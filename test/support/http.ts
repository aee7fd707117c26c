import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

export interface TakenRequest {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export interface HttpFake extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly requests: readonly TakenRequest[]
}

/** Answers the n-th request, from 0. */
export type Responder = (
  request: TakenRequest,
  response: http.ServerResponse,
  index: number,
) => void | Promise<void>

/** Starts an HTTP server on a free port of the loopback; it answers 200 `{}` unless told. */
export async function startHttp(respond?: Responder): Promise<HttpFake> {
  const requests: TakenRequest[] = []
  const server = http.createServer((incoming, response) => {
    const take = async () => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      const request = {
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        headers: incoming.headers,
        body: Buffer.concat(chunks).toString(),
      }
      requests.push(request)
      if (respond) await respond(request, response, requests.length - 1)
      else response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    }
    take().catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
