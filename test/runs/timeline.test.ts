import fs from 'node:fs'
import { expect, test } from 'vitest'
import type { MessageHappening } from '../../src/messages/message.ts'
import type { RunOutcome } from '../../src/runs/run.ts'

const ROOT = new URL('../../', import.meta.url)
const page = fs.readFileSync(new URL('docs/spec/timeline.md', ROOT), 'utf8')
const delivery = fs.readFileSync(new URL('docs/spec/delivery.md', ROOT), 'utf8')

const sources = ['src/runs', 'src/steps', 'src/workflow/channel.ts', 'src/messages/switches.ts']
  .flatMap((place) => {
    if (place.endsWith('.ts')) return [place]
    return fs.readdirSync(new URL(place, ROOT)).map((name) => `${place}/${name}`)
  })
  .map((path) => fs.readFileSync(new URL(path, ROOT), 'utf8'))

/** Each way that a run can end and all that can happen to a message; the compiler sees to it that none is missing. */
const ends: Record<`run_${RunOutcome}`, true> = {
  run_completed: true,
  run_batched: true,
  run_throttled: true,
  run_halted: true,
  run_failed: true,
  run_cancelled: true,
}
const happenings: Record<MessageHappening['type'], true> = {
  'message.created': true,
  'message.queued': true,
  'message.sent': true,
  'message.delivered': true,
  'message.delivery_attempted': true,
  'message.undelivered': true,
  'message.not_sent': true,
  'message.bounced': true,
  'message.seen': true,
  'message.unseen': true,
  'message.read': true,
  'message.unread': true,
  'message.interacted': true,
  'message.archived': true,
  'message.unarchived': true,
  'message.link_clicked': true,
}

/** The words that a page lists in the first column of its tables. */
function listed(text: string): ReadonlySet<string> {
  const rows = text.matchAll(/^\| (?<words>(?:`[a-z_]+`(?:, )?)+) \|/gm)
  return new Set([...rows].flatMap(({ groups }) => groups!['words']!.match(/[a-z_]+/g) ?? []))
}

/** The words that the code writes where one of these patterns stands. */
function written(...patterns: readonly RegExp[]): readonly string[] {
  const found = patterns.flatMap((pattern) =>
    sources.flatMap((text) => [...text.matchAll(pattern)].map(([, word]) => word!)),
  )
  return [...new Set(found)].toSorted()
}

test('every event of a timeline is on its page, and every one on the page is written', () => {
  const events = written(
    /\bevent: '([a-z_]+)'/g,
    /\.(?:add|fail)\(\s*'([a-z_]+)'/g,
    /\bnoted\('([a-z_]+)'/g,
    /\bjudge\([^)]*'([a-z_]+)'/g,
  )
  expect(events.length).toBeGreaterThan(25)
  const known = listed(page)
  expect(events.filter((word) => !known.has(word))).toEqual([])
  // What the end of a run and the events of its messages are called is put together.
  const composed = [...Object.keys(ends), ...Object.keys(happenings)]
    .map((word) => word.replace('.', '_'))
    .toSorted()
  const isComposed = (word: string) => /^(?:run|message)_/.test(word) && !events.includes(word)
  expect([...known].filter(isComposed).toSorted()).toEqual(composed)
  const ours = [...known].filter((word) => !isComposed(word))
  const code = sources.join('\n')
  expect(ours.filter((word) => !code.includes(`'${word}'`))).toEqual([])
})

test('every reason that a run or a step is given is on the page', () => {
  const reasons = written(
    /\breason: '([a-z_]+)'/g,
    /\bended\('[a-z]+', '([a-z_]+)'/g,
    /\bskippedWindow\('([a-z_]+)'/g,
  )
  expect(reasons.length).toBeGreaterThan(15)
  // What a run waits for is no reason of an end.
  const waits = ['delay', 'batch', 'event', 'fetch', 'retry']
  const known = new Set([...listed(page), ...listed(delivery), ...waits])
  expect(reasons.filter((word) => !known.has(word))).toEqual([])
})
