import { describe, expect, test } from 'vitest'
import { readConfig, sensitiveValues } from '../src/config.ts'
import { ConfigError } from '../src/errors.ts'

const TOKEN = 'forge_token_for_tests'
const SET = { BELFRY_FORGE: 'github', BELFRY_FORGE_TOKEN: TOKEN }

function problemOf(env: Readonly<Record<string, string>>): string {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
  }
  return ''
}

describe('the settings of a forge', () => {
  test('are none unless a forge is named', () => {
    const { forge, instance } = readConfig({})
    expect(forge).toBeUndefined()
    expect(instance).toBe('belfry')
  })

  test.each([
    ['github', 'https://github.com/example/app.git', 'https://api.github.com', 'example/app'],
    [
      'github',
      'https://git.example.com/example/app',
      'https://git.example.com/api/v3',
      'example/app',
    ],
    ['gitlab', 'https://gitlab.com/example/a/b.git', 'https://gitlab.com/api/v4', 'example/a/b'],
    [
      'gitea',
      'https://git.example.com/example/app.git',
      'https://git.example.com/api/v1',
      'example/app',
    ],
  ])('of %s follow from the repository %s', (name, repository, url, path) => {
    const { forge } = readConfig({ ...SET, BELFRY_FORGE: name, BELFRY_REPO: repository })
    expect(forge).toEqual({ name, url, repository: path, token: TOKEN })
  })

  test('follow from the repository that the command line names', () => {
    const { forge } = readConfig(SET, { repo: 'https://github.com/example/app' })
    expect(forge?.repository).toBe('example/app')
  })

  test('win over what would follow', () => {
    const own = { BELFRY_FORGE_URL: 'https://ghe.example.com/api/v3/', BELFRY_FORGE_REPO: 'a/b' }
    const { forge } = readConfig({ ...SET, ...own, BELFRY_REPO: 'https://github.com/c/d' })
    expect(forge).toMatchObject({ url: 'https://ghe.example.com/api/v3', repository: 'a/b' })
  })

  test('have the token among what is masked', () => {
    const config = readConfig({ ...SET, BELFRY_FORGE_REPO: 'a/b' })
    expect(sensitiveValues(config)).toContain(TOKEN)
  })

  test.each([
    [{ BELFRY_FORGE: 'bitbucket' }, 'expected one of github, gitlab, gitea'],
    [{ BELFRY_FORGE: 'github', BELFRY_FORGE_REPO: 'a/b' }, 'BELFRY_FORGE_TOKEN: must hold a token'],
    [{ BELFRY_FORGE_TOKEN: TOKEN }, 'BELFRY_FORGE: is not set'],
    [SET, 'BELFRY_FORGE_REPO: must name'],
    [{ ...SET, BELFRY_FORGE_REPO: 'a/b/c' }, 'BELFRY_FORGE_REPO'],
    [{ ...SET, BELFRY_FORGE_REPO: 'a/..' }, 'BELFRY_FORGE_REPO'],
    [{ ...SET, BELFRY_FORGE: 'gitea', BELFRY_FORGE_REPO: 'a/b' }, 'BELFRY_FORGE_URL: must name'],
    [{ ...SET, BELFRY_FORGE_REPO: 'a/b', BELFRY_FORGE_URL: 'http://git.example.com' }, 'https'],
    [{ ...SET, BELFRY_FORGE_REPO: 'a/b', BELFRY_FORGE_URL: 'https://u:p@git.example.com' }, 'hold'],
    [{ BELFRY_INSTANCE: 'a/b' }, 'BELFRY_INSTANCE'],
  ] as readonly (readonly [Record<string, string>, string])[])(
    '%o are refused, and the token is not repeated',
    (env, problem) => {
      const message = problemOf(env)
      expect(message).toContain(problem)
      expect(message).not.toContain(TOKEN)
    },
  )
})
