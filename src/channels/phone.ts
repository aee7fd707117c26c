/** `text` as E.164 writes a phone number, without what people put between the digits; undefined where it is none. */
export function phoneNumber(text: string): string | undefined {
  const digits = text.trim().replaceAll(/[\s().\u00A0-]/g, '')
  return /^\+[1-9]\d{6,14}$/.test(digits) ? digits : undefined
}
