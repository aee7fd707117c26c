import { startLoop, type Loop } from '../db/loop.ts'
import type { Ground } from './ground.ts'

/** Adds a loop whose turn says how much it did; it goes on at once after a turn that did something. */
export function addLoop(
  { log, stack }: Ground,
  options: { readonly name: string; readonly pollMs?: number },
  turn: () => Promise<number>,
): Loop {
  const loop = startLoop(async () => (await turn()) > 0, { log, ...options })
  stack.defer(() => loop.close())
  return loop
}
