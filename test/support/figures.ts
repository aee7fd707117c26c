/** As many as are promised where `FULL_FIGURES=1` asks for it, else what a suite has the time for. */
export function figure(full: number, usual: number): number {
  return process.env['FULL_FIGURES'] === '1' ? full : usual
}
