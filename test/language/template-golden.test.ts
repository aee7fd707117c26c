import { expect, test } from 'vitest'
import { checkTemplate, renderMail, renderText } from '../../src/language/templates.ts'
import { cases, layouts, partials, scope, translations, type GoldenCase } from './golden-cases.ts'

const rendering = { partials, translations, scope }

function render({ name, kind = 'text', source, mail }: GoldenCase): string {
  if (!mail) return renderText(source, { ...rendering, kind, name })
  const layout = mail.layout === undefined ? undefined : layouts[mail.layout]
  return renderMail(
    {
      body: { name, source, isMjml: mail.isMjml === true },
      ...(layout && { layout: { ...layout, name: 'layout' } }),
    },
    rendering,
  )
}

test('there are fifty templates', () => {
  expect(new Set(cases.map(({ name }) => name)).size).toBe(50)
})

test.each(cases.map((one, index) => [String(index + 1).padStart(2, '0'), one] as const))(
  '%s $name renders as its golden file says',
  async (number, one) => {
    const kind = one.mail ? 'html' : (one.kind ?? 'text')
    const isMjml = one.mail?.isMjml === true
    expect(
      checkTemplate(one.source, { kind, partials: new Set(Object.keys(partials)), isMjml }),
    ).toEqual([])
    await expect(`${render(one)}\n`).toMatchFileSnapshot(`golden/${number}-${one.name}.txt`)
  },
)
