import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createHash, randomBytes } from 'node:crypto'
import { deflateSync } from 'node:zlib'
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

/** A pack of one blob, whose header says that it has `size` bytes. */
function packOfBlob(content: string, { size = content.length, count = 1 } = {}): Buffer {
  const header = Buffer.from([0x50, 0x41, 0x43, 0x4b, 0, 0, 0, 2, 0, 0, 0, count])
  const body = Buffer.concat([header, Buffer.from([0x30 | size]), deflateSync(content)])
  return sealed(body)
}

/** A pack of one difference to an object that is not in it. */
function thinPack(): Buffer {
  const header = Buffer.from([0x50, 0x41, 0x43, 0x4b, 0, 0, 0, 2, 0, 0, 0, 1])
  const delta = deflateSync(Buffer.from([4, 4, 0x90, 4]))
  return sealed(Buffer.concat([header, Buffer.from([0x74]), Buffer.alloc(20, 7), delta]))
}

function sealed(body: Buffer): Buffer {
  return Buffer.concat([body, createHash('sha1').update(body).digest()])
}

describe('a pack whose checksum is right', () => {
  test('is taken where all in it is, and refused without it', async () => {
    const pack = packOfBlob('text')
    expect((await indexPack(pack)).length).toBeGreaterThan(1000)
    const other = Buffer.from(pack)
    other[pack.length - 1] = (other.at(-1) ?? 0) ^ 1
    await expect(indexPack(other)).rejects.toThrow('cut short')
  })

  test.each([
    ['an object is longer than it says', packOfBlob('text', { size: 3 }), 'another size'],
    ['an object is shorter than it says', packOfBlob('text', { size: 5 }), 'another size'],
    ['there is more than it says', packOfBlob('text', { count: 0 }), 'more than it says'],
    ['there is less than it says', packOfBlob('text', { count: 2 }), 'cut short'],
    ['an object is made from one that is elsewhere', thinPack(), 'from one that it lacks'],
    [
      'there is something behind the last object',
      sealed(Buffer.concat([packOfBlob('text').subarray(0, -20), Buffer.from('junk')])),
      'more than it says',
    ],
  ])('is refused where %s', async (_, pack, why) => {
    await expect(indexPack(pack)).rejects.toThrow(RetryableFailure)
    await expect(indexPack(pack)).rejects.toThrow(why)
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
