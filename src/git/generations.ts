import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoreMissing } from './location.ts'
import { Mirror, writeWhole } from './mirror.ts'
import { takePlace } from './mirror-place.ts'
import type { Place } from './mirror-place.ts'

/** Names the generation of the mirror that counts. */
export const CURRENT = 'current'

/** A mirror, and the place that it is kept at. */
export interface Opened {
  readonly place: Place
  readonly mirror: Mirror
}

/** Takes a place under `root`, and opens the mirror in it. */
export async function openPlace(root: string): Promise<Opened> {
  const place = await takePlace(root)
  return { place, mirror: await openGeneration(place) }
}

/** The generation that counts, or a new one where there is none or it is damaged; the others go. */
export async function openGeneration(place: Place): Promise<Mirror> {
  const current = (await readFile(join(place.path, CURRENT), 'utf8').catch(ignoreMissing)) ?? ''
  const isNamed = /^g\d+$/.test(current)
  const opened = isNamed ? await Mirror.reopen(join(place.path, current)) : undefined
  for (const name of await readdir(place.path)) {
    const isOther = /^g\d+$/.test(name) && (name !== current || !opened)
    if (isOther) await rm(join(place.path, name), { recursive: true, force: true })
  }
  if (opened) return opened
  const name = await nextGeneration(place)
  const mirror = await Mirror.create(join(place.path, name))
  await writeWhole(join(place.path, CURRENT), name)
  return mirror
}

/** A name that no generation has. */
export async function nextGeneration(place: Place): Promise<string> {
  const numbers = (await readdir(place.path)).map((name) => Number(/^g(\d+)$/.exec(name)?.[1] ?? 0))
  return `g${Math.max(0, ...numbers) + 1}`
}
