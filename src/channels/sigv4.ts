import { createHash, createHmac } from 'node:crypto'

export interface AwsCredentials {
  readonly access_key_id: string
  readonly secret_access_key: string
  readonly session_token?: string
  readonly region: string
}

export interface AwsRequest {
  readonly method: 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Such as `ses`. */
  readonly service: string
}

/** The headers of an AWS request, signed with Signature Version 4 for the moment `now`. */
export function signAws(
  request: AwsRequest,
  credentials: AwsCredentials,
  now: Date,
): Record<string, string> {
  const { host, pathname, searchParams } = new URL(request.url)
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d{3}/g, '')
  const headers: Record<string, string> = {
    ...request.headers,
    host,
    'x-amz-date': stamp,
    ...(credentials.session_token !== undefined && {
      'x-amz-security-token': credentials.session_token,
    }),
  }
  const names = Object.keys(headers)
    .map((name) => name.toLowerCase())
    .toSorted()
  const values = new Map(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const canonical = [
    request.method,
    pathname
      .split('/')
      .map((part) => encode(decodeURIComponent(part)))
      .join('/'),
    [...searchParams]
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .toSorted()
      .join('&'),
    ...names.map((name) => `${name}:${(values.get(name) ?? '').trim().replaceAll(/\s+/g, ' ')}`),
    '',
    names.join(';'),
    sha256(request.body),
  ].join('\n')
  const day = stamp.slice(0, 8)
  const scope = `${day}/${credentials.region}/${request.service}/aws4_request`
  const text = ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n')
  const parts = [day, credentials.region, request.service, 'aws4_request']
  const key = parts.reduce<string | Buffer>(hmac, `AWS4${credentials.secret_access_key}`)
  const signature = hmac(key, text).toString('hex')
  const { host: _, ...sent } = headers
  return {
    ...sent,
    authorization:
      `AWS4-HMAC-SHA256 Credential=${credentials.access_key_id}/${scope}, ` +
      `SignedHeaders=${names.join(';')}, Signature=${signature}`,
  }
}

/** As RFC 3986 encodes, which is more than what `encodeURIComponent` does. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
