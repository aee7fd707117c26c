import { expect, test } from 'vitest'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { checkPreferences, withChannelIds } from '../../src/language/preference-schema.ts'
import type { Condition } from '../../src/language/conditions.ts'

const MAIL = channelId('mail' as ChannelKey)
const when = (variable: string): readonly Condition[] => [{ variable, operator: 'exists' }]

test('channels are known by their ids, wherever they stand', () => {
  const strategy = { __strategy__: 'replace' }
  const set = {
    channels: { mail: true, ...strategy },
    channel_types: { email: true },
    // These are names, and not places for channels.
    workflows: { channels: { channels: { mail: { conditions: when('data.mail') } } } },
    categories: {
      mail: { channel_types: { email: false }, channels: { [MAIL.toUpperCase()]: true } },
    },
  }
  expect(withChannelIds(set)).toEqual({
    ...set,
    channels: { [MAIL]: true, ...strategy },
    workflows: { channels: { channels: { [MAIL]: { conditions: when('data.mail') } } } },
    categories: { mail: { channel_types: { email: false }, channels: { [MAIL]: true } } },
  })
  expect(withChannelIds(withChannelIds(set))).toEqual(withChannelIds(set))
})

test('each problem has its place in the set', () => {
  const set = {
    workflows: { conditions: { conditions: when('data.a') } },
    categories: { a: { conditions: [...when('data.a'), ...when('person.a')] } },
    channels: { mail: { conditions: when('refs.a.b') }, [MAIL]: true },
    commercial_subscribed: {
      conditions: [{ variable: 'data.a', operator: 'equal_to', argument: 'refs.a.b' }] as const,
    },
  }
  expect(checkPreferences(set).map(({ path, code }) => `${path.join('/')} ${code}`)).toEqual([
    'categories/a/conditions/1/variable unknown_prefix',
    'channels/mail/conditions/0/variable invalid_path',
    'commercial_subscribed/conditions/0/argument invalid_path',
    `channels/${MAIL} invalid_value`,
  ])
})
