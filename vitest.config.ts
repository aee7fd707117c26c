import { defineConfig } from 'vitest/config'

/** `vitest run` takes all but `*.long.test.ts`; `vitest run --mode long` takes those alone. */
export default defineConfig(({ mode }) => ({
  test: {
    include: [mode === 'long' ? 'test/**/*.long.test.ts' : 'test/**/*.test.ts'],
    exclude: mode === 'long' ? [] : ['test/**/*.long.test.ts'],
    globalSetup: ['test/support/setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: mode === 'long' ? 300_000 : 20_000,
    hookTimeout: 30_000,
    teardownTimeout: 20_000,
    passWithNoTests: mode === 'long',
  },
}))
