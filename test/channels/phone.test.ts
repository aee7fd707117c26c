import { expect, test } from 'vitest'
import { phoneNumber } from '../../src/channels/phone.ts'

test('a phone number is read as E.164, whatever stands between its digits', () => {
  expect(phoneNumber(' +49 (30) 123-456.78 ')).toBe('+493012345678')
  expect(phoneNumber('+15550100000')).toBe('+15550100000')
})

test.each(['', '030 123456', '+0301234567', '+1555,+1556', '+1555010000012345', '+1555a100'])(
  '%j is no phone number',
  (text) => {
    expect(phoneNumber(text)).toBeUndefined()
  },
)
