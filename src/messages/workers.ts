import type { Queue } from '../db/queue.ts'
import type { DeliverJob } from './claim.ts'
import { deliver, type DeliveryContext } from './deliver.ts'

/**
 * How many `deliver` jobs a process works on at the same time: in all, and of one channel. Where channels that hang have
 * taken all, each other channel still gets one.
 */
const DELIVERIES_MAX = 16
const DELIVERIES_PER_CHANNEL_MAX = 4

/** Says that this process hands messages over. */
export function registerDeliverWorker(queue: Queue, delivery: DeliveryContext): void {
  queue.work<DeliverJob>('deliver', {
    concurrency: DELIVERIES_MAX,
    perLane: DELIVERIES_PER_CHANNEL_MAX,
    async handle(batch) {
      // Batches of this queue hold one job, so its claim may end the batch.
      for (const job of batch.jobs) await deliver(delivery, job.payload, batch.complete)
    },
  })
}
