/** The message of a commit, from the commit's raw bytes; empty where it has none. */
export function messageOfCommit(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  // A signature among the headers has no empty line: its lines are indented.
  const end = text.indexOf('\n\n')
  return end < 0 ? '' : text.slice(end + 2)
}

const TRAILER = /^([A-Za-z0-9-]+)[ \t]*:[ \t]*(.*)$/
const CONTINUED = /^[ \t]/
/** Lines that Git writes itself, which make a paragraph trailers although it also holds prose. */
const GIT_WROTE = /^(?:Signed-off-by: |\(cherry picked from commit )/

/**
 * Whether a commit message ends in this trailer, by Git's own rule: in its last paragraph, which is
 * not the subject's and holds trailers alone, or some beside what Git has written there. The name
 * may be in any case, the value not.
 */
export function hasTrailer(message: string, name: string, value: string): boolean {
  const paragraphs = message
    .replaceAll('\r\n', '\n')
    .trim()
    .split(/\n(?:[ \t]*\n)+/)
  if (paragraphs.length < 2) return false
  const lines = unfold((paragraphs.at(-1) ?? '').split('\n'))
  const trailers = lines.filter((line) => TRAILER.test(line) || GIT_WROTE.test(line))
  const others = lines.length - trailers.length
  const isBlock =
    others === 0 || (lines.some((line) => GIT_WROTE.test(line)) && trailers.length * 3 >= others)
  if (!isBlock) return false
  return trailers.some((line) => {
    const [, key = '', said = ''] = TRAILER.exec(line) ?? []
    return key.toLowerCase() === name.toLowerCase() && said.trim() === value
  })
}

/** Puts each indented line at the end of the one that it continues. */
function unfold(lines: readonly string[]): readonly string[] {
  const whole: string[] = []
  for (const line of lines) {
    const before = whole.at(-1)
    if (CONTINUED.test(line) && before !== undefined)
      whole[whole.length - 1] = `${before} ${line.trim()}`
    else whole.push(line)
  }
  return whole
}
