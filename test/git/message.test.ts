import { describe, expect, test } from 'vitest'
import { hasTrailer, messageOfCommit } from '../../src/git/message.ts'
import { openRepository } from '../../src/git/repository.ts'
import type { Revision } from '../../src/ids.ts'
import { testRepository } from '../support/repository.ts'

const has = (message: string) => hasTrailer(message, 'Belfry-Allow-Prune', 'true')

describe('a trailer', () => {
  test.each([
    'Drop all\n\nBelfry-Allow-Prune: true',
    'Drop all\n\nWhy.\n\nbelfry-allow-prune:true\n',
    'Drop all\r\n\r\nBelfry-Allow-Prune: true\r\n',
    'Drop all\n\nBelfry-Allow-Prune: true  \nCo-authored-by: Ada <ada@example.com>\n  of Example\n',
    'Drop all\n\nSaid so.\nBelfry-Allow-Prune: true\nSigned-off-by: Ada <ada@example.com>\n',
  ])('is found where Git finds it: %j', async (message) => {
    expect(has(message)).toBe(true)
    expect(await trailersOf(message)).toMatch(/^belfry-allow-prune: *true$/im)
  })

  test.each([
    'Belfry-Allow-Prune: true',
    'Drop all\n\nBelfry-Allow-Prune: true\n\nNot in the last paragraph.',
    'Drop all\n\nThis needs\nBelfry-Allow-Prune: true',
    'Revert "Drop all"\n\n> Belfry-Allow-Prune: true',
    'Drop all\n\nBelfry-Allow-Pruner: true',
  ])('is not found where Git finds none: %j', async (message) => {
    expect(has(message)).toBe(false)
    expect(await trailersOf(message)).not.toMatch(/^belfry-allow-prune:/im)
  })

  test('counts with its value alone', () => {
    expect(has('Drop all\n\nBelfry-Allow-Prune: false')).toBe(false)
    expect(has('Drop all\n\nBelfry-Allow-Prune: true, I think')).toBe(false)
  })
})

/** What the real git says. */
async function trailersOf(message: string): Promise<string> {
  await using made = await testRepository()
  await made.git('commit', '--quiet', '--allow-empty', '--cleanup=verbatim', '--message', message)
  return await made.git('log', '-1', '--format=%(trailers:only)')
}

test('the message of a commit is read from the repository', async () => {
  await using made = await testRepository()
  const tip = await made.commit({ 'a.txt': 'a' }, 'Add a\n\nBelfry-Allow-Prune: true')
  const tree = await (await openRepository(made.path)).tree(tip as Revision)
  expect(tree.message).toBe('Add a\n\nBelfry-Allow-Prune: true\n')
})

test('a signature among the headers is no message', () => {
  const commit = 'tree 1\ngpgsig -----BEGIN\n \n Belfry-Allow-Prune: true\n -----END\n\nSubject\n'
  expect(messageOfCommit(Buffer.from(commit))).toBe('Subject\n')
  expect(messageOfCommit(Buffer.from('tree 1\n'))).toBe('')
})
