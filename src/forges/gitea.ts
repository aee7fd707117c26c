import type { Connection, PageOptions } from './connection.ts'
import { textField } from './connection.ts'
import type { Forge, ForgeKind } from './forge.ts'
import { commentOf, openedOf, pullOf, stateOf } from './pull.ts'

/** Servers are set to give no more of a list at once than this. */
const PAGE: PageOptions = { sizeName: 'limit', size: 50 }

/** Gitea and Forgejo. */
export const gitea: ForgeKind = {
  name: 'gitea',
  pullRefs: 'refs/pull/',
  credentials: (token) => ({ authorization: `token ${token}` }),
  open: openGitea,
}

function openGitea(connection: Connection): Forge {
  const { call, list, repository } = connection
  const at = `/repos/${repository}`
  return {
    async findStatus(sha, context) {
      const path = `${at}/commits/${sha}/status`
      const statuses = await list(path, { ...PAGE, field: 'statuses' })
      const found = statuses.find((one) => textField(one, 'context') === context)
      return (
        found && { state: stateOf(found, 'status'), description: textField(found, 'description') }
      )
    },
    async postStatus({ sha, state, context, description, targetUrl }) {
      const target = targetUrl === undefined ? {} : { target_url: targetUrl }
      await call('POST', `${at}/statuses/${sha}`, { state, context, description, ...target })
    },
    async findComment(pull, marker) {
      // This list has no pages.
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
      return (await list(`${at}/pulls?state=open`, PAGE)).map(pullOf)
    },
    async openPull({ base, head, title, body }) {
      const pulls = (await list(`${at}/pulls?state=open`, PAGE)).filter(isOfThisRepository)
      const open = pulls.map(pullOf).find((one) => one.base === base && one.head === head)
      const answer = open
        ? await call('PATCH', `${at}/pulls/${open.number}`, { title, body })
        : await call('POST', `${at}/pulls`, { title, body, base, head })
      return openedOf(answer.body)
    },
  }

  function isOfThisRepository(pull: Record<string, unknown>): boolean {
    const head = pull['head'] as { readonly repo?: unknown } | null
    return textField(head?.repo, 'full_name').toLowerCase() === repository.toLowerCase()
  }
}
