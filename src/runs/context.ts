import { addressesOf } from '../channels/channel-data.ts'
import { channelDataKey } from '../recipients/channel-data-store.ts'
import type { Scope, StepContext } from '../steps/step.ts'
import type { Channel } from '../workflow/environment.ts'
import { rendererOf, unknownZoneOf } from '../workflow/render.ts'
import type { Walker } from './walker.ts'

/** What is known of a step beside its run. */
export interface StepPlace {
  /** Whether it is reached again after its wait. */
  readonly waited: boolean
  /** The channel it sends by. */
  readonly channel?: Channel
}

/** What a step of this run may look at and render with. */
export function stepContext(walker: Walker, scope: Scope, of: StepPlace): StepContext {
  const { chunk, shared, version, batch } = walker
  const renderer = rendererOf(version, { now: chunk.now, scope, settings: chunk.live.settings })
  const unknown = unknownZoneOf(scope)
  // After its wait a step has said so already.
  if (unknown !== undefined && !of.waited)
    walker.timeline.add('timezone_unknown', { timezone: unknown, used: renderer.timeZone })
  return {
    ...renderer,
    now: chunk.now,
    scope,
    waited: of.waited,
    matched: walker.matched,
    addresses: addressesOf(of.channel && channelDataOf(walker, of.channel)),
    skipDelay: shared.settings.skip_delay === true,
    openingData: batch?.openingData ?? scope.data,
  }
}

function channelDataOf({ chunk, run }: Walker, { key }: Channel) {
  return chunk.channelData.get(channelDataKey(run.collection, run.recipient, key))
}
