import type { Clock } from './clock.ts'
import { isExpected, messageOf } from './errors.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** What a line says beside its message. An `Error` is shown by its message, a fault with its stack. */
export type LogFields = Readonly<Record<string, unknown>>

/** One line per event. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export interface LogOptions {
  readonly level: LogLevel
  /** Takes one line, its line break included. */
  readonly write: (line: string) => void
  /** Short lines for a person; else one JSON object per line. */
  readonly human: boolean
  /** Takes secrets out of a line. */
  readonly mask: (text: string) => string
  readonly clock: Clock
}

/** Opens a log. Everything written passes through `mask` as a whole line, so no field is forgotten. */
export function openLog(options: LogOptions): Log {
  const least = LOG_LEVELS.indexOf(options.level)
  const writer = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (LOG_LEVELS.indexOf(level) < least) return
    const at = options.clock.now().toISOString()
    const shown = showErrors(fields ?? {})
    const line = options.human
      ? humanLine(at, level, message, shown)
      : jsonLine(at, level, message, shown)
    options.write(`${options.mask(line)}\n`)
  }
  return {
    debug: writer('debug'),
    info: writer('info'),
    warn: writer('warn'),
    error: writer('error'),
  }
}

/** A log that keeps nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

function jsonLine(at: string, level: LogLevel, message: string, fields: LogFields): string {
  return JSON.stringify({ ...fields, time: at, level, message })
}

function humanLine(at: string, level: LogLevel, message: string, fields: LogFields): string {
  const { stack, ...rest } = fields
  const pairs = Object.entries(rest).map(([key, value]) => ` ${key}=${humanValue(value)}`)
  const mark = level === 'info' ? '' : `${level}: `
  const trace = typeof stack === 'string' ? `\n${stack}` : ''
  return `${at.slice(11, 19)} ${mark}${message}${pairs.join('')}${trace}`
}

function humanValue(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}

function showErrors(fields: LogFields): LogFields {
  const shown = Object.entries(fields).flatMap(([key, value]): [string, unknown][] => {
    if (typeof value === 'bigint') return [[key, value.toString()]]
    if (!(value instanceof Error)) return [[key, value]]
    const line: [string, unknown] = [key, withCauses(value)]
    return isExpected(value) ? [line] : [line, ['stack', value.stack]]
  })
  return Object.fromEntries(shown)
}

function withCauses(error: Error): string {
  const { cause } = error
  const own = messageOf(error)
  const why = cause === undefined ? '' : messageOf(cause)
  return own.includes(why) ? own : `${own}: ${why}`
}
