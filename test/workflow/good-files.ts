import { fileURLToPath } from 'node:url'
import { readDirectory } from '../../src/workflow/directory.ts'
import { entriesOf } from './files.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Its private half is nowhere. */
const publicKey = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAiQIlnm4/it7b3wpeHNO2
7JHg0N0pWd8KQ7aW6iS4KmipY+GdXF80giYuxYxUbUx+C+97gcD0gjYiWVEjDL/5
7YMn9wHHCXmhuwl+yVNPGUHh+UcGRi0E7g8obzwiri/WJbe8jB9fUwE7WMTvvNvT
hWu9DMMBsy9SAXmowD8JlKYZRUbC1q+V4AJIePeost25pT9/hB0gZK+C/v9vvmT+
tDQ3rTD5xuS1jkAhG0M8qIq/b+gs+4+19ob+k81IambvzqmlqlSzl3C1uDLeBjOV
PbBnn0FVsau2TH4BRNC5Sg+Ffq3S1yHSOO62nPPiovy9/1eCyhqdYdSvQ7e3VxPX
swIDAQAB
-----END PUBLIC KEY-----
`

/** What the shipped examples do not use. */
const FIXTURES = {
  'environments/fixture.yaml': `variables:
  token: {secret: TOKEN}
channels:
  email:
    type: email
    provider: smtp
    conditions: {all: [{variable: data.a, operator: equal_to, argument: 1}]}
    settings:
      host: smtp.example.com
      from: a@example.com
      username: {secret: USER}
      password: {secret: PASSWORD}
  hook: {type: webhook, provider: webhook, settings: {signing_secret: {secret: SIGNING}}}
  feed: {type: in_app, provider: in_app}
preferences:
  workflows: {fixture: {conditions: [{variable: data.a, operator: exists}]}}
  categories: {fixture: {channel_types: {email: false}, channels: {feed: true}}}
  channel_types: {sms: false}
  channels: {email: {conditions: [{variable: recipient.a, operator: exists}]}}
  commercial_subscribed: true
client_keys: {file: {file: key.pem}, text: {pem: ${JSON.stringify(publicKey)}}}
schedules:
  weekly:
    workflow: fixture
    recipients: [ada, {collection: teams, id: core}]
    repeats: [{frequency: weekly, interval: 2, days: [mon, thu], hours: 9, minutes: 30}]
    scheduled_at: 2027-01-01T09:00:00Z
    ending_at: "2027-12-31"
    data: {a: 1}
    tenant: acme
    actor: ada
    paused: true
`,
  'environments/key.pem': publicKey,
  'workflows/fixture/workflow.yaml': `name: Fixture
categories: [fixture]
commercial: true
override_preferences: false
trigger:
  data_schema: {type: object, properties: {a: {type: number}}}
conditions: {any: [{variable: data.a, operator: exists}]}
steps:
  - ref: wait
    type: delay
    for: 5m
  - ref: once
    type: throttle
    key: data.a
    window: 1h
  - ref: split
    type: branch
    branches:
      - name: first
        conditions: {all: [{variable: data.a, operator: less_than, argument: 5}]}
        steps:
          - ref: inner
            type: in_app
            body: "{{#if data.a}}{{> button label=data.a url=vars.app_url}}{{/if}}"
      - name: rest
        steps: []
  - ref: halves
    type: cohort
    cohorts:
      - {name: one, percentage: 50, steps: []}
      - {name: two, percentage: 50, steps: []}
  - ref: hook
    type: webhook
    url: https://example.com/{{data.a}}
    headers: {authorization: "{{vars.token}}"}
    body: {items: ["{{data.a}}"]}
  - ref: more
    type: update_data
    properties: {a: "{{data.a}}"}
`,
}

/** The examples that ship, and fixtures of what they do not use, by path. */
export async function goodFiles(): Promise<ReadonlyMap<string, Uint8Array>> {
  const entries = await readDirectory(root)
  const files = [...entries, ...entriesOf(FIXTURES)]
  return new Map(files.map(([path, { bytes }]) => [path, bytes]))
}
