import type { ForgeName } from '../forge-settings.ts'
import type { Connection } from './connection.ts'

export type StatusState = 'pending' | 'success' | 'failure' | 'error'

/** What one check says about a commit. */
export interface CommitStatus {
  readonly sha: string
  readonly context: string
  readonly state: StatusState
  /** At most `DESCRIPTION_LENGTH_MAX` characters. */
  readonly description: string
  /** The branch that the commit was read from; some forges file a status under it. */
  readonly gitRef: string
  readonly targetUrl?: string
}

/** The shortest bound of all forges. */
export const DESCRIPTION_LENGTH_MAX = 140

/** A pull request, or a merge request, as it stands. */
export interface OpenPull {
  readonly number: number
  /** The branch that it is to be merged into. */
  readonly base: string
  /** The branch that it comes from, of this repository or of a fork. */
  readonly head: string
  readonly headSha: string
}

export interface PullComment {
  readonly id: string
  readonly body: string
}

export interface NewPull {
  readonly base: string
  readonly head: string
  readonly title: string
  readonly body: string
}

export interface OpenedPull {
  readonly number: number
  readonly url: string
}

/** One repository on a forge. Every call throws a `ForgeFailure`. */
export interface Forge {
  /** What the forge shows last of a context. */
  findStatus(
    sha: string,
    context: string,
  ): Promise<Pick<CommitStatus, 'state' | 'description'> | undefined>
  postStatus(status: CommitStatus): Promise<void>
  /** The first comment that begins with `marker`. */
  findComment(pull: number, marker: string): Promise<PullComment | undefined>
  /** Answers the comment's id. */
  createComment(pull: number, body: string): Promise<string>
  updateComment(pull: number, id: string, body: string): Promise<void>
  listOpenPulls(): Promise<readonly OpenPull[]>
  /** Opens a pull request, or rewrites the title and text of the one that is open between these branches. */
  openPull(pull: NewPull): Promise<OpenedPull>
}

/** A kind of forge. */
export interface ForgeKind {
  readonly name: ForgeName
  /** The header that carries the token. */
  readonly credentials: (token: string) => Readonly<Record<string, string>>
  /** What the names of refs begin with under which the heads of pull requests stand, those of forks as well. */
  readonly pullRefs: string
  open(connection: Connection): Forge
}
