import Handlebars from 'handlebars'
import { renderMail, renderText, type MailPart } from '../src/language/templates.ts'
import { perSecond, times, type Figure } from './figures.ts'

const RENDERS = 20_000
const WARM_UP = 2_000
const PROMISED = 10_000

const LAYOUT = `<!doctype html>
<html><head><style>p{margin:0 0 12px}.button{background:#07a;color:#fff}@media(max-width:600px){.button{display:block}}</style></head>
<body><table role="presentation" width="100%"><tr><td>{{{content}}}</td></tr></table>{{> footer}}</body></html>`

const BODY = `<p>Hello {{recipient.name}},</p>
<p>{{total_activities}} new comments on <b>{{data.page_name}}</b>:</p>
<ul>{{#each activities}}<li><b>{{actor.name}}</b>: {{comment}}</li>{{/each}}</ul>
<p><a class="button" href="{{vars.app_url}}/pages/{{data.page_id}}">Open the page</a></p>`

const SUBJECT = '{{total_activities}} new comments on {{data.page_name}}'

const PARTIALS = { footer: '<p>Sent by {{vars.company}} to {{recipient.email}}.</p>' }

const scope = {
  recipient: { name: 'Ada & Co', email: 'ada@example.com' },
  vars: { app_url: 'https://app.example.com', company: 'Example' },
  data: { page_id: 'p1', page_name: 'Roadmap' },
  total_activities: 5,
  activities: Array.from({ length: 5 }, (_, index) => ({
    actor: { name: `Reader ${index}` },
    comment: 'I would rather have it <soon> than perfect, "now" rather than then.',
  })),
}

/** Renders of a typical mail (subject, and body in its layout) in a second, beside Handlebars alone. */
export function measureTemplates(): readonly Figure[] {
  const body: MailPart = { source: BODY, name: 'body', isMjml: false }
  const layout: MailPart = { source: LAYOUT, name: 'layout', isMjml: false }
  const rendering = { partials: PARTIALS, scope }
  const ours = speedOf(() => {
    renderText(SUBJECT, { ...rendering, kind: 'line', name: 'subject' })
    return renderMail({ body, layout }, rendering)
  })
  const bare = Handlebars.create()
  bare.registerPartial('footer', PARTIALS.footer)
  const subject = bare.compile(SUBJECT, { noEscape: true })
  const inner = bare.compile(BODY)
  const outer = bare.compile(LAYOUT)
  const beside = speedOf(() => {
    subject(scope)
    return outer({ ...scope, content: inner(scope) })
  })
  return [
    {
      what: 'renders of a typical mail',
      ours: `${Math.round(ours)}/s`,
      beside: `${Math.round(beside)}/s  Handlebars alone`,
      ratio: times(ours, beside),
      reach: { text: `>= ${PROMISED}/s`, met: ours >= PROMISED },
    },
  ]
}

function speedOf(render: () => string): number {
  for (let index = 0; index < WARM_UP; index += 1) render()
  const start = performance.now()
  for (let index = 0; index < RENDERS; index += 1) render()
  return perSecond(RENDERS, performance.now() - start)
}
