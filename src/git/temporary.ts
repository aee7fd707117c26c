/** What editors and file managers leave beside the files that are edited. */
const TEMPORARY = [
  /~$/,
  /^\.#/,
  /^#.*#$/,
  /^\..*\.sw[a-p]$/,
  /\.swp$/,
  /^4913$/,
  /^\.DS_Store$/,
  /^Thumbs\.db$/i,
  /\.tmp$/,
  /^\.goutputstream-/,
  /___jb_(?:tmp|old)___$/,
  /^\.git$/,
]

/** Whether a file of this name is left out of the working tree's revision. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.some((pattern) => pattern.test(name))
}
