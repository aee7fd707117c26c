import type { Connection, PageOptions } from './connection.ts'
import { textField } from './connection.ts'
import type { Forge, ForgeKind } from './forge.ts'
import { commentOf, openedOf, pullOf, stateOf } from './pull.ts'

const PAGE: PageOptions = { sizeName: 'per_page', size: 100 }
/** A pull request comes with all there is to say about two repositories. */
const PULLS_PAGE: PageOptions = { sizeName: 'per_page', size: 50 }

/** GitHub, also on a server of one's own. */
export const github: ForgeKind = {
  name: 'github',
  pullRefs: 'refs/pull/',
  credentials: (token) => ({
    authorization: `Bearer ${token}`,
    'x-github-api-version': '2022-11-28',
  }),
  open: openGithub,
}

function openGithub(connection: Connection): Forge {
  const { call, list, repository } = connection
  const at = `/repos/${repository}`
  return {
    async findStatus(sha, context) {
      // The combined status has the newest of each context.
      const path = `${at}/commits/${sha}/status`
      const statuses = await list(path, { ...PAGE, field: 'statuses' })
      const found = statuses.find(
        (one) => textField(one, 'context').toLowerCase() === context.toLowerCase(),
      )
      return (
        found && { state: stateOf(found, 'state'), description: textField(found, 'description') }
      )
    },
    async postStatus({ sha, state, context, description, targetUrl }) {
      const target = targetUrl === undefined ? {} : { target_url: targetUrl }
      await call('POST', `${at}/statuses/${sha}`, { state, context, description, ...target })
    },
    async findComment(pull, marker) {
      const comments = await list(`${at}/issues/${pull}/comments`, PAGE)
      return comments.map(commentOf).find(({ body }) => body.startsWith(marker))
    },
    async createComment(pull, body) {
      return commentOf((await call('POST', `${at}/issues/${pull}/comments`, { body })).body).id
    },
    async updateComment(_pull, id, body) {
      await call('PATCH', `${at}/issues/comments/${id}`, { body })
    },
    async listOpenPulls() {
      return (await list(`${at}/pulls?state=open`, PULLS_PAGE)).map(pullOf)
    },
    async openPull({ base, head, title, body }) {
      const [owner = ''] = repository.split('/')
      const query = new URLSearchParams({ state: 'open', base, head: `${owner}:${head}` })
      const [open] = await list(`${at}/pulls?${query.toString()}`, PULLS_PAGE)
      const answer = open
        ? await call('PATCH', `${at}/pulls/${pullOf(open).number}`, { title, body })
        : await call('POST', `${at}/pulls`, { title, body, base, head })
      return openedOf(answer.body)
    },
  }
}
