import { execFileSync } from 'node:child_process'
import type { Revision } from '../../src/ids.ts'

/** Commits of one history. */
const COMMITS = 14

/** Random histories with up to three parents a commit; in every third one clocks go back now and then. */
export function writeHistories(
  gitDir: string,
  { count: histories, next }: { readonly count: number; readonly next: () => number },
): Revision[][] {
  const stream: string[] = []
  const marks = Array.from({ length: histories }, (_, history) => {
    const own: number[] = []
    for (let at = 0; at < COMMITS; at += 1) {
      const mark = history * COMMITS + at + 1
      const skew = history % 3 === 0 && next() < 0.2 ? -500 : 0
      const when = 1_700_000_000 + at * 60 + skew
      const count = at === 0 || next() < 0.05 ? 0 : Math.min(at, next() < 0.3 ? 2 + (at % 2) : 1)
      const parents = new Set<number>()
      while (parents.size < count) {
        parents.add(own[Math.max(0, at - 1 - Math.floor(next() * 5))] ?? 1)
        if (at <= count && parents.size === at) break
      }
      const [first, ...merged] = parents
      stream.push(
        `commit refs/heads/made-${mark}`,
        `mark :${mark}`,
        `committer Ada Example <ada@example.com> ${when} +0000`,
        'data 1',
        'x',
        ...(first === undefined ? [] : [`from :${first}`]),
        ...merged.map((parent) => `merge :${parent}`),
        '',
      )
      own.push(mark)
    }
    return own
  })
  const all = marks.flat()
  const text = [...stream, ...all.flatMap((mark) => [`get-mark :${mark}`]), 'done', ''].join('\n')
  const stdio = ['pipe', 'pipe', 'ignore'] as const
  const options = { input: text, stdio: [...stdio], encoding: 'utf8' as const }
  const out = execFileSync('git', ['--git-dir', gitDir, 'fast-import', '--quiet'], options)
  const ids = out.trim().split('\n') as Revision[]
  return marks.map((own) => own.map((mark) => ids[mark - 1] as Revision))
}
