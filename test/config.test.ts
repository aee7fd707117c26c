import { describe, expect, test } from 'vitest'
import { readConfig, sensitiveValues, type Env } from '../src/config.ts'
import { ConfigError } from '../src/errors.ts'

function urlOf(BELFRY_PUBLIC_URL: string): string | undefined {
  return readConfig({ BELFRY_PUBLIC_URL }).publicUrl
}

function problemsOf(env: Env): string[] {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n')
    throw error
  }
  return []
}

describe('readConfig', () => {
  test('has a default for everything', () => {
    expect(readConfig({})).toMatchObject({
      repository: '.',
      dev: false,
      databaseUrl: undefined,
      port: 4747,
      portIsDefault: true,
      host: '127.0.0.1',
      apiKeys: [],
      logLevel: 'info',
      retentionDays: 30,
      roles: ['reconcile', 'work', 'api'],
      warnings: [],
    })
    expect(readConfig({}).dataDirectory).toBe(`${process.cwd()}/.belfry`)
  })

  test('takes for how many days runs are kept', () => {
    const config = readConfig({ BELFRY_RETENTION_DAYS: '7' })
    expect(config).toMatchObject({ retentionDays: 7, warnings: [] })
  })

  test('takes the command line before the environment', () => {
    const env = { BELFRY_REPO: '/a', BELFRY_DEV: 'off', BELFRY_DEFAULT_BRANCH: 'trunk' }
    const config = readConfig(env, { repo: '/b', dev: true })
    expect(config).toMatchObject({ repository: '/b', dev: true, defaultBranch: 'trunk' })
    expect(config.warnings).toEqual([])
    const policies = { BELFRY_POLICY_FILE: '/a.yaml' }
    expect(readConfig(policies).policyFile).toBe('/a.yaml')
    expect(readConfig(policies, { policyFile: '/b.yaml' }).policyFile).toBe('/b.yaml')
  })

  test('parts the address of a remote from its credentials', () => {
    const given = { BELFRY_GIT_USERNAME: 'ada', BELFRY_GIT_PASSWORD: 'p4ss word' }
    const url = 'https://git.example.com/team/x.git'
    const config = readConfig({ ...given, BELFRY_REPO: url })
    expect(config.repository).toBe(url)
    expect(config.remote).toEqual({
      url,
      credentials: { username: 'ada', password: 'p4ss word' },
    })
    expect(config.warnings).toEqual([])
    expect(sensitiveValues(config)).toContain('p4ss word')
    const own = readConfig(given, { repo: 'https://t0ken@git.example.com/team/x.git/' })
    expect(own.repository).toBe(url)
    expect(sensitiveValues(own)).toContain('t0ken')
    expect(readConfig(given).remote).toBeUndefined()
  })

  test('refuses to send credentials in the clear, without showing them', () => {
    for (const BELFRY_REPO of [
      'http://ada:p4ssword@git.example.com/x.git',
      'https://ada:p4ssword@',
      'https://ada:p4ssword@git.example.com/x.git#p4ssword',
    ]) {
      const [problem = '', ...others] = problemsOf({ BELFRY_REPO })
      expect(problem).toMatch(/^BELFRY_REPO: /)
      expect(problem).not.toContain('p4ss')
      expect(others).toEqual([])
    }
  })

  test('takes the address that others use without credentials, and nothing for it where none is set', () => {
    expect(urlOf('')).toBeUndefined()
    expect(urlOf('https://Belfry.example.com/')).toBe('https://belfry.example.com')
    expect(urlOf('https://example.com/belfry/')).toBe('https://example.com/belfry')
    for (const BELFRY_PUBLIC_URL of [
      'belfry.example.com',
      'ftp://belfry.example.com',
      'https://ada:p4ssword@belfry.example.com',
      'https://belfry.example.com/?p4ssword',
      'https://belfry.example.com/#p4ssword',
    ]) {
      const problems = problemsOf({ BELFRY_PUBLIC_URL })
      expect(problems).toEqual([expect.stringMatching(/^BELFRY_PUBLIC_URL: expected an address/)])
      expect(problems.join()).not.toContain('p4ss')
    }
  })

  test('keeps development on this machine', () => {
    expect(problemsOf({ BELFRY_HOST: '0.0.0.0' })).toEqual([])
    expect(problemsOf({ BELFRY_HOST: '0.0.0.0', BELFRY_DEV: 'on' })).toEqual([
      'BELFRY_HOST: must be a loopback address in development',
    ])
    expect(problemsOf({ BELFRY_HOST: '::1', BELFRY_DEV: 'on' })).toEqual([])
  })

  test('treats an empty variable as one that is not set', () => {
    expect(readConfig({ PORT: '', BELFRY_ROLES: ' ' })).toEqual(readConfig({}))
  })

  test('reads pairs, lists and numbers', () => {
    const config = readConfig({
      PORT: '8080',
      BELFRY_API_KEYS: 'production=sk_0123456789, staging=sk_abc=defghij ,',
      BELFRY_CORS_ORIGINS: 'https://app.example.com, http://localhost:3000,app://local, *',
      BELFRY_ALLOWED_TARGETS: '10.0.0.0/8, ::1/128,127.0.0.1',
      BELFRY_ALLOWED_SIGNERS: '/etc/signers, keys.asc',
      BELFRY_ROLES: 'api,work',
      BELFRY_SHARED_SECRETS: 'SMTP_PASSWORD',
      BELFRY_WEBHOOK_SECRETS: ` one-secret ,whsec_${'ab+/'.repeat(10)}=`,
      BELFRY_SECRET_EU__SMTP_PASSWORD: 'hunter2',
    })
    expect(config.allowedSigners).toEqual(['/etc/signers', `${process.cwd()}/keys.asc`])
    expect(config.port).toBe(8080)
    expect(config.portIsDefault).toBe(false)
    expect(config.apiKeys).toEqual([
      { environment: 'production', key: 'sk_0123456789' },
      { environment: 'staging', key: 'sk_abc=defghij' },
    ])
    const origins = ['https://app.example.com', 'http://localhost:3000', 'app://local', '*']
    expect(config.corsOrigins).toEqual(origins)
    expect(config.allowedTargets).toEqual(['10.0.0.0/8', '::1/128', '127.0.0.1'])
    expect(config.roles).toEqual(['work', 'api'])
    expect(config.webhookSecrets).toEqual(['one-secret', `whsec_${'ab+/'.repeat(10)}=`])
    expect(config.secrets.values.get('EU__SMTP_PASSWORD')).toBe('hunter2')
  })

  test.each<[string, string, string]>([
    ['PORT', '70000', 'whole number from 0 to 65535'],
    ['PORT', '80a', 'whole number'],
    ['BELFRY_DEV', 'yes', 'expected one of'],
    ['BELFRY_LOG_LEVEL', 'loud', 'debug, info, warn, error'],
    ['BELFRY_POLL_SECONDS', '1.5', 'whole number'],
    ['BELFRY_RETENTION_DAYS', '0', 'from 1 to 36500'],
    ['BELFRY_ROLES', 'api,cook', '"cook" is not one of reconcile, work, api'],
    ['BELFRY_CORS_ORIGINS', 'https://app.example.com/', 'no origin'],
    ['BELFRY_CORS_ORIGINS', 'https://App.example.com', 'no origin'],
    ['BELFRY_CORS_ORIGINS', 'app.example.com', 'no origin'],
    ['BELFRY_ALLOWED_TARGETS', '10.0.0.0/33', 'range of addresses'],
    ['BELFRY_ALLOWED_TARGETS', 'example.com', 'range of addresses'],
    ['BELFRY_SHARED_SECRETS', 'EU__KEY', 'shared secret'],
    ['DATABASE_URL', 'mysql://localhost/x', 'postgres://'],
    ['BELFRY_API_KEYS', 'production', 'entry 1 is not environment=key'],
    ['BELFRY_API_KEYS', 'production=short', 'entry 1 has a key that is shorter'],
    ['BELFRY_OPERATOR_TOKEN', 'short', 'shorter than 8'],
    ['BELFRY_WEBHOOK_SECRETS', 'long-enough,short', 'entry 2 is shorter than 8'],
    ['BELFRY_WEBHOOK_SECRETS', 'whsec_not-a-token-at-all', 'entry 1 begins with whsec_'],
  ])('refuses %s=%s', (name, value, expected) => {
    const [problem, ...more] = problemsOf({ [name]: value })
    expect(problem).toContain(`${name}: `)
    expect(problem).toContain(expected)
    expect(more).toEqual([])
  })

  test('names every problem at once and the value of no key', () => {
    const problems = problemsOf({
      PORT: 'x',
      BELFRY_API_KEYS: 'sk_confidential_key,=sk_confidential_key',
      BELFRY_LOG_LEVEL: 'y',
      BELFRY_WEBHOOK_SECRETS: 'whsec_confidential',
    })
    expect(problems).toHaveLength(5)
    expect(problems.join()).not.toContain('confidential')
  })

  test('warns of a name that has no effect', () => {
    const env = { BELFRY_POL_SECONDS: '5', BELFRY_URL: 'x', BELFRY_SECRET_A__B: 'y', HOME: '/' }
    expect(readConfig(env).warnings).toEqual(['BELFRY_POL_SECONDS is not a setting of Belfry'])
  })
})

test('sensitiveValues lists what no output may hold', () => {
  const config = readConfig({
    DATABASE_URL: 'postgres://belfry:p%40ss@db.example.com/belfry',
    BELFRY_API_KEYS: 'production=sk_0123456789',
    BELFRY_OPERATOR_TOKEN: 'op_0123456789',
    BELFRY_WEBHOOK_SECRETS: 'wh_0123456789',
    BELFRY_SECRET_A__B: 'secret',
  })
  expect(sensitiveValues(config).toSorted()).toEqual(
    ['p@ss', 'sk_0123456789', 'op_0123456789', 'wh_0123456789', 'secret'].toSorted(),
  )
})
