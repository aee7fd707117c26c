import { expect, test } from 'vitest'
import { ConfigError } from '../src/errors.ts'
import { openLog, type LogLevel } from '../src/log.ts'
import { testClock } from './support/clock.ts'

function open({ human = false, level = 'info' }: { human?: boolean; level?: LogLevel } = {}) {
  const lines: string[] = []
  const log = openLog({
    level,
    human,
    write: (line) => void lines.push(line),
    mask: (text) => text.replaceAll('hunter2', '***'),
    clock: testClock('2026-05-06T07:08:09.123Z'),
  })
  return { log, lines }
}

test('writes one JSON object per line', () => {
  const { log, lines } = open()
  log.info('applied', { environment: 'production', count: 3 })
  expect(lines).toHaveLength(1)
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    time: '2026-05-06T07:08:09.123Z',
    level: 'info',
    message: 'applied',
    environment: 'production',
    count: 3,
  })
  expect(lines[0]?.endsWith('}\n')).toBe(true)
})

test('writes short lines for a person', () => {
  const { log, lines } = open({ human: true })
  log.info('applied', { environment: 'production' })
  log.warn('slow', { reason: 'a b' })
  expect(lines).toEqual([
    '07:08:09 applied environment=production\n',
    '07:08:09 warn: slow reason="a b"\n',
  ])
})

test('leaves out what is below its level', () => {
  const { log, lines } = open({ level: 'warn' })
  log.info('no')
  log.debug('no')
  log.error('yes')
  expect(lines).toHaveLength(1)
})

test('masks secrets wherever they stand', () => {
  const { log, lines } = open()
  log.info('password hunter2', { url: 'https://hunter2@example.com', error: new Error('hunter2') })
  expect(lines.join('')).not.toContain('hunter2')
})

test('shows where a fault of ours is, and not where an expected error was thrown', () => {
  const { log, lines } = open()
  log.error('stopped', { error: new ConfigError('PORT: is wrong') })
  log.error('stopped', { error: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) })
  log.error('stopped', { error: new Error('surprise', { cause: new Error('root') }) })
  const [config, refused, fault] = lines.map((line) => JSON.parse(line) as Record<string, string>)
  expect(config).toMatchObject({ error: 'PORT: is wrong' })
  expect(config).not.toHaveProperty('stack')
  expect(refused).not.toHaveProperty('stack')
  expect(fault).toMatchObject({ error: 'surprise: root' })
  expect(fault?.['stack']).toContain('log.test.ts')
})
