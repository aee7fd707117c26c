import type { Connection, PageOptions } from './connection.ts'
import { field, numberField, textField } from './connection.ts'
import { ForgeFailure } from './failure.ts'
import type { Forge, ForgeKind, OpenedPull, StatusState } from './forge.ts'
import { commentOf, stateOf } from './pull.ts'

const PAGE: PageOptions = { sizeName: 'per_page', size: 100 }

/** GitLab, also on a server of one's own. */
export const gitlab: ForgeKind = {
  name: 'gitlab',
  pullRefs: 'refs/merge-requests/',
  credentials: (token) => ({ 'private-token': token }),
  open: openGitlab,
}

function openGitlab(connection: Connection): Forge {
  const { call, list, repository } = connection
  const at = `/projects/${encodeURIComponent(repository)}`
  const requests = `${at}/merge_requests`
  return {
    async findStatus(sha, context) {
      const query = new URLSearchParams({ name: context }).toString()
      const statuses = await list(`${at}/repository/commits/${sha}/statuses?${query}`, PAGE)
      // With several pipelines on the commit, each has its own; the newest is what was said last.
      const [found] = statuses
        .filter((one) => textField(one, 'name') === context)
        .toSorted((one, other) => numberField(other, 'id') - numberField(one, 'id'))
      return (
        found && { state: stateOf(found, 'status'), description: textField(found, 'description') }
      )
    },
    async postStatus({ sha, state, context, description, gitRef, targetUrl }) {
      const target = targetUrl === undefined ? {} : { target_url: targetUrl }
      const status = { state: wordOf(state), name: context, description, ref: gitRef, ...target }
      await call('POST', `${at}/statuses/${sha}`, status).catch(ignoreSameState)
    },
    async findComment(pull, marker) {
      const notes = await list(`${requests}/${pull}/notes?sort=asc&order_by=created_at`, PAGE)
      return notes.map(commentOf).find(({ body }) => body.startsWith(marker))
    },
    async createComment(pull, body) {
      return commentOf((await call('POST', `${requests}/${pull}/notes`, { body })).body).id
    },
    async updateComment(pull, id, body) {
      await call('PUT', `${requests}/${pull}/notes/${id}`, { body })
    },
    async listOpenPulls() {
      const found = await list(`${requests}?state=opened`, PAGE)
      return found.map((one) => ({
        number: numberField(one, 'iid'),
        base: textField(one, 'target_branch'),
        head: textField(one, 'source_branch'),
        headSha: textField(one, 'sha'),
      }))
    },
    async openPull({ base, head, title, body }) {
      const branches = { source_branch: head, target_branch: base }
      const query = new URLSearchParams({ state: 'opened', ...branches }).toString()
      const found = await list(`${requests}?${query}`, PAGE)
      const open = found.find(
        (one) => field(one, 'source_project_id') === field(one, 'target_project_id'),
      )
      const text = { title, description: body }
      const answer = open
        ? await call('PUT', `${requests}/${numberField(open, 'iid')}`, text)
        : await call('POST', requests, { ...branches, ...text })
      return openedOf(answer.body)
    },
  }
}

function openedOf(body: unknown): OpenedPull {
  return { number: numberField(body, 'iid'), url: textField(body, 'web_url') }
}

function wordOf(state: StatusState): string {
  return state === 'failure' || state === 'error' ? 'failed' : state
}

/** Saying again what is shown already is an error there, and no failure to us. */
function ignoreSameState(error: unknown): void {
  const isSame =
    error instanceof ForgeFailure &&
    error.status === 400 &&
    /cannot transition/i.test(error.message)
  if (!isSame) throw error
}
