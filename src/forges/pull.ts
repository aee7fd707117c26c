import { field, numberField, textField } from './connection.ts'
import type { OpenedPull, OpenPull, PullComment, StatusState } from './forge.ts'

// What the forges write alike.

/** A pull request as GitHub and those after its pattern write it. */
export function pullOf(pull: unknown): OpenPull {
  const head = field(pull, 'head')
  return {
    number: numberField(pull, 'number'),
    base: textField(field(pull, 'base'), 'ref'),
    head: textField(head, 'ref'),
    headSha: textField(head, 'sha'),
  }
}

export function openedOf(pull: unknown): OpenedPull {
  return { number: numberField(pull, 'number'), url: textField(pull, 'html_url') }
}

export function commentOf(comment: unknown): PullComment {
  return { id: String(numberField(comment, 'id')), body: textField(comment, 'body') }
}

/** The state of a status, in our words; those of none are on their way. */
export function stateOf(status: unknown, name: string): StatusState {
  const word = textField(status, name)
  if (word === 'success' || word === 'error') return word
  return word === 'failure' || word === 'failed' ? 'failure' : 'pending'
}
