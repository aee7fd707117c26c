/** How many rounds of a race are under way at once: each has a run of its own, and some connections. */
const AT_ONCE = 5

/** Plays a race so many times, some rounds beside each other. */
export async function playRounds(
  count: number,
  round: (number: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const player = async () => {
    for (let number = next++; number < count; number = next++) await round(number)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, player))
}
