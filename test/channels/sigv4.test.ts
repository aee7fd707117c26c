import { expect, test } from 'vitest'
import { signAws } from '../../src/channels/sigv4.ts'

const credentials = {
  access_key_id: 'AKIDEXAMPLE',
  secret_access_key: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  region: 'us-east-1',
}

test('a request is signed as the published example of AWS is', () => {
  const request = {
    method: 'POST',
    url: 'https://example.amazonaws.com/',
    headers: {},
    body: '',
    service: 'service',
  } as const
  const { authorization } = signAws(request, credentials, new Date('2015-08-30T12:36:00Z'))
  expect(authorization).toBe(
    'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ' +
      'SignedHeaders=host;x-amz-date, ' +
      'Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
  )
})
