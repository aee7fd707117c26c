import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  findServer,
  keepDevCredentials,
  noteServer,
  readDevCredentials,
} from '../../src/data-directory.ts'
import { run } from './program-support.ts'

function emptyDirectory(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'belfry-cli-'))
  onTestFinished(() => fs.rmSync(directory, { recursive: true }))
  return directory
}

test('init writes files that validate finds nothing wrong with, and never touches one that is there', async () => {
  const root = emptyDirectory()
  fs.mkdirSync(path.join(root, 'environments'))
  fs.writeFileSync(path.join(root, 'environments/production.yaml'), 'timezone: Europe/Vienna\n')
  fs.writeFileSync(path.join(root, '.gitignore'), 'node_modules')
  const { code, out } = await run(['init', root, '--output', 'json'])
  expect(code).toBe(0)
  expect(JSON.parse(out)).toMatchObject({
    written: expect.arrayContaining([
      'workflows/welcome/workflow.yaml',
      'schemas/workflow.schema.json',
      '.gitignore',
    ]),
    kept: ['environments/production.yaml'],
  })
  expect(fs.readFileSync(path.join(root, '.gitignore'), 'utf8')).toBe('node_modules\n.belfry\n')
  fs.rmSync(path.join(root, 'environments/production.yaml'))
  const again = await run(['init', root, '--output', 'json'])
  expect(JSON.parse(again.out)).toMatchObject({ written: ['environments/production.yaml'] })
  expect(await run(['validate', root, '--strict'])).toMatchObject({
    code: 0,
    out: expect.stringContaining('all fine'),
  })
})

test('validate exits with 1 and names the place of each problem', async () => {
  const root = emptyDirectory()
  await run(['init', root])
  fs.appendFileSync(
    path.join(root, 'workflows/welcome/workflow.yaml'),
    '  - ref: x\n    type: emial\n',
  )
  const { code, out } = await run(['validate', root])
  expect(code).toBe(1)
  expect(out).toMatch(/workflows\/welcome\/workflow\.yaml:\d+:\d+ error /)
  const { out: json } = await run(['validate', root, '--output', 'json'])
  expect(JSON.parse(json)).toMatchObject({ errors: 1, diagnostics: [{ severity: 'error' }] })
})

test('schema prints JSON', async () => {
  const { code, out } = await run(['schema', 'workflow'])
  expect(code).toBe(0)
  expect(JSON.parse(out)).toHaveProperty('properties')
  expect(await run(['schema', 'wrong'])).toMatchObject({ code: 2 })
})

test('credentials are made once, for their owner alone', () => {
  const directory = path.join(emptyDirectory(), 'data')
  const first = keepDevCredentials(directory, { key: 'a', operator_token: 'b' })
  const second = keepDevCredentials(directory, { key: 'c', operator_token: 'd' })
  expect(second).toEqual(first)
  expect(readDevCredentials(directory)).toEqual({ key: 'a', operator_token: 'b' })
  expect(fs.statSync(path.join(directory, 'credentials.json')).mode & 0o777).toBe(0o600)
})

test('the server that has run longest and still runs is the one that commands speak to', () => {
  const directory = emptyDirectory()
  const own = { url: 'http://127.0.0.1:1', pid: process.pid, started_at: '2026-01-02T00:00:00Z' }
  const dead = { url: 'http://127.0.0.1:2', pid: 2 ** 22 + 1, started_at: '2026-01-01T00:00:00Z' }
  noteServer(directory, dead)
  const forget = noteServer(directory, own)
  expect(findServer(directory)).toEqual(own)
  forget()
  expect(findServer(directory)).toBeUndefined()
})
