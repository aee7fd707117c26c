import { domainToASCII } from 'node:url'

/** A mailbox with its display name, as a `from` line says it. */
export interface Mailbox {
  readonly name: string
  readonly address: string
}

const ADDRESS_LENGTH_MAX = 254
const LOCAL_LENGTH_MAX = 64
const NAME_LENGTH_MAX = 200
const LABEL = /^[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}-]{0,61}[\p{L}\p{N}\p{M}])?$/u
/** RFC 5322 atoms, and letters beyond ASCII (RFC 6531); quoted local parts are not taken. */
const ATOM = /^[\p{L}\p{N}\p{M}!#$%&'*+/=?^_`{|}~-]+$/u

/**
 * Whether `text` is exactly one addr-spec, such as `ann@example.com`: no list, no display name, no
 * comment, no quoted local part, no address literal. Anything else could add or move a recipient.
 */
export function isAddrSpec(text: string): boolean {
  if (Buffer.byteLength(text) > ADDRESS_LENGTH_MAX || !text.isWellFormed()) return false
  const at = text.indexOf('@')
  const local = text.slice(0, at)
  const domain = text.slice(at + 1)
  if (at < 1 || Buffer.byteLength(local) > LOCAL_LENGTH_MAX) return false
  if (!local.split('.').every((atom) => ATOM.test(atom))) return false
  const labels = domain.split('.')
  return labels.every((label) => LABEL.test(label))
}

/**
 * The one mailbox that `text` names: `ann@example.com` or `Ann <ann@example.com>`, the name bare or
 * in quotes. Undefined for a list, for control characters, and for brackets inside the name.
 */
export function parseMailbox(text: string): Mailbox | undefined {
  const trimmed = text.trim()
  if (isAddrSpec(trimmed)) return { name: '', address: trimmed }
  const match = /^(?<name>[^<>]*)<(?<address>[^<>]*)>$/u.exec(trimmed)
  const { name = '', address = '' } = match?.groups ?? {}
  const display = unquoted(name.trim())
  if (display === undefined || !isAddrSpec(address)) return undefined
  return { name: display, address }
}

/** An address as it travels: an international domain in its ASCII form. */
export function asciiAddress(address: string): string {
  const at = address.lastIndexOf('@')
  return `${address.slice(0, at)}@${domainToASCII(address.slice(at + 1))}`
}

function unquoted(name: string): string | undefined {
  if (hasControls(name) || !name.isWellFormed() || name.length > NAME_LENGTH_MAX) return undefined
  if (!/^".*"$/u.test(name) || name.length < 2) return name
  return name.slice(1, -1).replaceAll(/\\(.)/gu, '$1')
}

/** Whether `text` holds a control character, a line break among them. */
export function hasControls(text: string): boolean {
  return /[\p{Cc}\u2028\u2029]/u.test(text)
}
