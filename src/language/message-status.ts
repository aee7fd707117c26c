/** The order of delivery states; a message that went further counts higher. */
const ranks: ReadonlyMap<string, number> = new Map([
  ['skipped', 0],
  ['undelivered', 1],
  ['bounced', 2],
  ['delivery_attempted', 3],
  ['queued', 4],
  ['not_sent', 5],
  ['sent', 6],
  ['delivered', 7],
  ['seen', 8],
  ['read', 9],
  ['interacted', 10],
  ['link_clicked', 10],
  ['archived', 11],
])

/** What an argument `$message.<word>` may name in a condition on `delivery_status`. */
export const deliveryWords: readonly string[] = [...ranks.keys()]

/** What an argument `$message.<word>` may name in a condition on `engagement_status`. */
export const engagementWords: readonly string[] = [
  'seen',
  'read',
  'interacted',
  'link_clicked',
  'archived',
  'seen_not_read',
  'read_not_link_clicked',
]

/** The operators of a condition on `delivery_status`. */
export const deliveryOperators: readonly string[] = [
  'equal_to',
  'not_equal_to',
  'greater_than',
  'greater_than_or_equal_to',
  'less_than',
  'less_than_or_equal_to',
]

/** The operators of a condition on `engagement_status`. */
export const engagementOperators: readonly string[] = ['contains', 'not_contains']

const PREFIX = '$message.'

/** The word of an argument such as `$message.sent`; undefined where it is no such argument. */
export function statusWord(argument: unknown): string | undefined {
  if (typeof argument !== 'string' || !argument.startsWith(PREFIX)) return undefined
  return argument.slice(PREFIX.length)
}

/**
 * Whether the status of an earlier step's messages is as a condition wants it. `status` is one
 * word or a list of them, as the scope holds it. A status that is not known (the message is past
 * its retention, or the step never ran) makes the condition false, whatever it asks.
 */
export function statusHolds(operator: string, status: unknown, word: string): boolean {
  const words = (Array.isArray(status) ? status : [status]).filter((one) => typeof one === 'string')
  if (words.length === 0 && !Array.isArray(status)) return false
  if (operator === 'contains') return isEngaged(words, word)
  if (operator === 'not_contains') return !isEngaged(words, word)
  const highest = words.filter((one) => ranks.has(one)).toSorted((a, b) => rank(b) - rank(a))[0]
  return highest !== undefined && isDelivered(operator, highest, word)
}

function isDelivered(operator: string, status: string, word: string): boolean {
  switch (operator) {
    case 'equal_to':
      return status === word
    case 'not_equal_to':
      return status !== word
    case 'greater_than':
      return rank(status) > rank(word)
    case 'greater_than_or_equal_to':
      return rank(status) >= rank(word)
    case 'less_than':
      return rank(status) < rank(word)
    case 'less_than_or_equal_to':
      return rank(status) <= rank(word)
    default:
      return false
  }
}

function isEngaged(words: readonly string[], word: string): boolean {
  if (word === 'seen_not_read') return words.includes('seen') && !words.includes('read')
  if (word === 'read_not_link_clicked') {
    return words.includes('read') && !words.includes('link_clicked')
  }
  return words.includes(word)
}

function rank(word: string): number {
  return ranks.get(word) ?? NaN
}
