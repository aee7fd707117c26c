import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { indexPack } from '../../src/git/index-pack.ts'
import { applyDelta } from '../../src/git/pack-delta.ts'
import { RetryableFailure } from '../../src/errors.ts'
import { testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'

/** A history in which files change a little, so that its pack is full of deltas. */
async function history(repository: TestRepository): Promise<void> {
  const lines = Array.from({ length: 400 }, () => randomBytes(12).toString('hex'))
  for (let round = 0; round < 30; round += 1) {
    lines[round * 7] = `round ${round}`
    await repository.commit({
      'workflows/a/workflow.yaml': lines.join('\n'),
      [`workflows/w${round}/workflow.yaml`]: `name: ${round}\n`,
      'workflows/b/image.bin': randomBytes(3000),
      empty: '',
    })
  }
  await repository.git('tag', '--annotate', 'v1', '--message', 'One')
}

async function packOf(repository: TestRepository): Promise<{ pack: Buffer; index: Buffer }> {
  const directory = join(repository.gitDir, 'objects', 'pack')
  const name = (await readdir(directory)).find((one) => one.endsWith('.pack')) ?? ''
  return {
    pack: await readFile(join(directory, name)),
    index: await readFile(join(directory, name.replace('.pack', '.idx'))),
  }
}

describe('the index of a pack', () => {
  test.each([
    ['with distances to bases', 'true'],
    ['with names of bases', 'false'],
  ])('is that of Git, byte for byte, for one %s', async (_, byOffset) => {
    await using made = await testRepository()
    await history(made)
    await made.git('config', 'repack.useDeltaBaseOffset', byOffset)
    await made.git('config', 'pack.writeReverseIndex', 'false')
    await made.git('repack', '-adfq', '--depth=50')
    const { pack, index } = await packOf(made)
    const own = await indexPack(pack)
    expect(own.equals(index)).toBe(true)
  })

  test('is made of no pack that is cut or damaged', async () => {
    await using made = await testRepository()
    await history(made)
    await made.git('repack', '-adfq')
    const { pack } = await packOf(made)
    for (const length of [0, 11, 31, 32, 400, pack.length - 21, pack.length - 1]) {
      await expect(indexPack(pack.subarray(0, length))).rejects.toThrow(RetryableFailure)
    }
    const damaged = Buffer.from(pack)
    damaged[600] = (damaged[600] ?? 0) ^ 1
    await expect(indexPack(damaged)).rejects.toThrow(RetryableFailure)
  })
})

describe('a delta', () => {
  test('that does not fit its base is refused', () => {
    const base = Buffer.from('0123456789')
    const copy = Buffer.from([10, 4, 0b1001_0001, 6, 4])
    expect(applyDelta(base, copy, 100).toString()).toBe('6789')
    for (const broken of [
      [9, 4, 0b1001_0001, 6, 4],
      [10, 4, 0b1001_0001, 8, 4],
      [10, 5, 0b1001_0001, 6, 4],
      [10, 3, 0b1001_0001, 6, 4],
      [10, 4, 9, 1],
      [10, 4, 0],
      [0x80],
    ]) {
      expect(() => applyDelta(base, Buffer.from(broken), 100)).toThrow(/a delta/)
    }
  })
})
