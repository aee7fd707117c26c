import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, MessageId } from '../ids.ts'
import type { Channel } from '../workflow/environment.ts'

/** Channel data is the customer's: one who keeps it in order himself says so. */
export function forgetsDevices({ type, settings }: Pick<Channel, 'type' | 'settings'>): boolean {
  return type === 'push' && settings['token_deregistration'] !== false
}

/** A message whose device is no more. */
export interface DeadDevice {
  readonly environment: EnvironmentName
  readonly id: MessageId
}

/**
 * Takes the devices that these messages went to out of their recipients' channel data, those of one
 * recipient together; what was registered anew meanwhile stays, for it has another token.
 */
export async function forgetDevices(
  tx: Transaction,
  dead: readonly DeadDevice[],
  now: Date,
): Promise<void> {
  if (dead.length === 0) return
  await tx.query(sql`
    with dead as (
      select m.environment, m.collection, m.recipient, m.channel,
             array_agg(m.content ->> 'token') as tokens
      from unnest(
        ${dead.map(({ environment }) => environment)}::text[],
        ${dead.map(({ id }) => id)}::uuid[]
      ) as n (environment, id)
      join messages m on m.environment = n.environment and m.id = n.id
      group by 1, 2, 3, 4
    ), held as (
      select d.environment, d.collection, d.recipient, d.channel, d.data, dead.tokens
      from channel_data d
      join dead on dead.environment = d.environment and dead.collection = d.collection
        and dead.recipient = d.recipient and dead.channel = d.channel
      order by d.environment, d.collection, d.recipient, d.channel
      for update of d
    )
    update channel_data c
    set updated_at = ${now},
        data = case
          when held.data ? 'devices' then jsonb_set(held.data, '{devices}', (
            select coalesce(jsonb_agg(one order by place), '[]')
            from jsonb_array_elements(held.data -> 'devices') with ordinality as x (one, place)
            where one ->> 'token' <> all(held.tokens)
          ))
          else jsonb_set(held.data, '{subscriptions}', (
            select coalesce(jsonb_agg(one order by place), '[]')
            from jsonb_array_elements(held.data -> 'subscriptions') with ordinality as x (one, place)
            where one ->> 'endpoint' <> all(held.tokens)
          ))
        end
    from held
    where c.environment = held.environment and c.collection = held.collection
      and c.recipient = held.recipient and c.channel = held.channel
      and (held.data ? 'devices' or held.data ? 'subscriptions')
  `)
}
