import type { UrlEscaper } from './template-url.ts'
import { urlAny, urlBegin, urlNext, urlOpaque, urlPart } from './template-url.ts'

/** How a value is made safe for the place where it stands; several are applied one after another. */
export type Escaper =
  | UrlEscaper
  | 'none'
  | 'html'
  | 'dash'
  | 'css'
  | 'markdown'
  | 'markdown-code'
  | 'markdown-url'
  | 'quotes'

export const escapers: Readonly<Record<Escaper, (text: string) => string>> = {
  none: (text) => text,
  html: escapeHtml,
  dash: (text) => text.replaceAll('-', '&#45;'),
  css: escapeCss,
  markdown: escapeMarkdown,
  'markdown-code': escapeMarkdownCode,
  'markdown-url': escapeMarkdownUrl,
  quotes: (text) => text.replace(/["']/g, '\\$&'),
  'url-begin': urlBegin,
  'url-any': urlAny,
  'url-next': urlNext,
  'url-part': urlPart,
  'url-opaque': urlOpaque,
}

/** A value as text: empty where it is unset, JSON where it is an object or a list. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '' : value.toISOString()
  if (typeof value === 'object') return JSON.stringify(value)
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

const HTML_SPECIAL = /[&<>"'`]/
const HTML_ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
}

/**
 * Text for HTML text and quoted attribute values, where `=` means nothing and stays, as programs that rewrite links
 * and do not decode entities need it. Values of attributes without quotes are refused.
 */
function escapeHtml(text: string): string {
  if (!HTML_SPECIAL.test(text)) return text
  return text.replace(/[&<>"'`]/g, (character) => HTML_ENTITIES[character]!)
}

/** A value in a style: a colour, a length, a name. Anything else is left out. */
function escapeCss(text: string): string {
  return /^[\w#.%+, -]*$/.test(text) ? text : ''
}

/**
 * What acts anywhere, and what acts only beside certain characters: an entity, an image's mark, and
 * the dots, colons and slashes of what some programs take for an address.
 */
const MARKDOWN_SPECIAL =
  /[\\`*_{}[\]()<~]|&(?=[#a-z]|$)|!$|\.(?=[\p{L}\p{N}])|(?<=\p{N})\.|(?<=\p{L}):|\/(?=\/)|@/giu
/** What acts at the beginning of a line. */
const MARKDOWN_BEGINNING = /^[-+=:#>.]/

/** Text in which Markdown sees no markup, on one line. */
function escapeMarkdown(text: string): string {
  return (
    spacesKept(oneLine(text).replace(MARKDOWN_SPECIAL, '\\$&').replace(MARKDOWN_BEGINNING, '\\$&'))
      .replaceAll('|', '&#124;')
      // A table takes two backslashes before its bar for one.
      .replace(/\\\\$/, '&#92;')
  )
}

/** The spaces around a text as an entity each, which Markdown does not take for its own. */
function spacesKept(text: string): string {
  const inner = text.trim()
  if (inner === text) return text
  if (inner === '') return '&#32;'
  const before = text.trimStart() === text ? '' : '&#32;'
  return before + inner + (text.trimEnd() === text ? '' : '&#32;')
}

/** Text inside code, where nothing can be escaped, but backticks, tildes and a table's bars act. */
function escapeMarkdownCode(text: string): string {
  return oneLine(text).replaceAll('`', "'").replaceAll('~', '-').replaceAll('|', '¦') || ' '
}

/** A URL in a link's destination, which ends at a space or a bracket. */
function escapeMarkdownUrl(text: string): string {
  return text
    .replace(/[\s()"'<>\\|]/g, (character) => encode(character))
    .replace(/[`*_{}[\]~!&]/g, '\\$&')
}

function encode(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}

function oneLine(text: string): string {
  const flat = LINE_BREAK.test(text) ? text.replace(SPACES, flattened) : text
  return flat.replace(CONTROLS, '')
}

/**
 * A run of spaces on one line. The run is found first and looked at then: a pattern that looks for the spaces
 * before a break begins anew at each of a million spaces without one.
 */
function flattened(run: string): string {
  const at = run.search(LINE_END)
  if (at < 0) return run.replaceAll('\t', ' ')
  let end = at
  while (end > 0 && (run[end - 1] === ' ' || run[end - 1] === '\t')) end -= 1
  return `${run.slice(0, end).replaceAll('\t', ' ')} `
}

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const LINE_END = /[\r\n\u000b\u000c\u0085\u2028\u2029]/
// oxlint-disable-next-line no-control-regex -- as above
const LINE_BREAK = /[\t\r\n\u000b\u000c\u0085\u2028\u2029]/
const SPACES = /[\s\u0085]+/g
// oxlint-disable-next-line no-control-regex -- as above
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/g

/** A rendered subject or header: one line without control characters. */
export function escapeLine(text: string): string {
  return oneLine(text).trim()
}
