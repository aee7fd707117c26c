import type { Conflict } from '../git/merge-files.ts'
import type { Revision } from '../ids.ts'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Strictness } from '../workflow/environment.ts'
import type { SchemaChange } from './promotion-schema.ts'
import type { FieldChange, StepChange } from './promotion-steps.ts'

/** How two tips stand to each other. */
export type Relation =
  /** The same commit. */
  | 'same'
  /** The target has all that the head has. */
  | 'up_to_date'
  /** The head has all that the target has. */
  | 'fast_forward'
  | 'merge'
  /** They share no commit, and Git refuses to merge them. */
  | 'unrelated'

/** What a merge means for one workflow of the target. */
export type WorkflowVerdict =
  | 'added'
  | 'changed'
  | 'archived'
  /** Both sides have changed it in ways that a person has to bring together. */
  | 'conflicting'
  /** The target has it, or a change of it, that the head does not have. */
  | 'only_in_target'
  /** Both have come to the same content since their last common commit: cherry-picked, squashed or rebased. */
  | 'same'

export interface FileChange {
  readonly path: string
  readonly change: 'added' | 'changed' | 'removed' | 'mode' | 'conflicting'
  /** Why a person has to merge it. */
  readonly conflict: Conflict['kind'] | null
}

export interface WorkflowChange {
  readonly key: WorkflowKey
  readonly change: WorkflowVerdict
  /** What people call it; null where its file was not read. */
  readonly name: string | null
  /** Both sides have changed it, and the merge holds both changes. */
  readonly merged: boolean
  /** The archived workflow with the same content, of which this one is the new name. */
  readonly moved_from: string | null
  /** The new workflow with the same content. */
  readonly moved_to: string | null
  /** The id of its directory after the merge; null where it is archived or conflicts. */
  readonly tree: string | null
  readonly files: readonly FileChange[]
  /** The steps of one that is added, in a few words each. */
  readonly does: readonly string[]
  /** Null where there are no two versions to compare, or one of them is broken. */
  readonly steps: readonly StepChange[] | null
  readonly trigger_schema: readonly SchemaChange[]
  /** Changes beside steps and trigger schema: name, categories, conditions … */
  readonly fields: readonly FieldChange[]
  readonly breaking: boolean
}

/** A layout, partial or other file that workflows share. */
export interface SharedChange {
  readonly path: string
  readonly change: FileChange['change'] | 'only_in_target'
  /** Which workflows it is a part of; null where that was not looked at. */
  readonly workflows: readonly string[] | null
}

/** A file of `environments/`. */
export interface EnvironmentChange {
  readonly path: string
  /** Null for a file that is no environment's. */
  readonly name: string | null
  /** Whether the target reads it. */
  readonly own: boolean
  readonly change: FileChange['change'] | 'only_in_target'
  /** What differs in it, by the names of its top. */
  readonly fields: readonly string[]
}

/** Something that a person has to know or do; one that blocks keeps the merge from being made or applied. */
export interface PlanProblem {
  readonly code: ProblemCode
  readonly message: string
}

export type ProblemCode =
  | 'unrelated_histories'
  | 'conflict'
  | 'invalid_files'
  | 'prune_guard'
  | 'out_of_order'
  | 'soaking'
  | 'several_merge_bases'
  | 'only_in_target'
  | 'breaking_change'
  | 'not_all_read'

export interface PruneVerdict {
  /** Whether the target would not apply the merge unasked. */
  readonly held: boolean
  /** Whether the head itself says that the archiving is meant, which counts where the merge is a fast-forward. */
  readonly allowed: boolean
  readonly archived: readonly string[]
  readonly of: number
  readonly max_percent: number
}

export interface OrderVerdict {
  readonly promotes_from: EnvironmentName | null
  readonly mode: Strictness
  /** `free`: the target takes content from anywhere. */
  readonly verdict: 'free' | 'off' | 'in_order' | 'soaking' | 'out_of_order'
  /** What counts as having been there: applied revisions, or the source's branch where no server was asked. */
  readonly checked_by: 'applied' | 'branch'
  /** Whether the head is the environment that this one is promoted from, or an earlier commit of it. */
  readonly head_is_source: boolean
  /** Workflows, and paths of shared parts, that were never there. */
  readonly never_there: readonly string[]
  /** How long content has to be live there first; null where it may come at once. */
  readonly soak: string | null
  /** Workflows that have to stay there until then. Only a server knows. */
  readonly soaking: readonly { readonly key: string; readonly until: string }[]
}

/** How to bring back to the head what only the target has. */
export interface BackMerge {
  readonly workflows: readonly string[]
  readonly paths: readonly string[]
  /** The newest commits that only the target has, merges left out. */
  readonly commits: readonly { readonly revision: Revision; readonly subject: string }[]
  readonly more_commits: number
  /** To be typed as they stand; none where the head is no branch. */
  readonly commands: readonly string[]
}

/** Paused runs that a merge meets in the middle of a workflow; one that waits for a batch is told with the batch. */
export interface PausedRuns {
  readonly workflow: string
  readonly paused: number
  readonly steps: readonly {
    /** Null where the version of the run has no such step any more. */
    readonly ref: string | null
    readonly runs: number
    /** Whether the merge takes the step away. A run goes on with its own version, at least to the next batch. */
    readonly removed: boolean
  }[]
  /** Whether they end when they wake, since their workflow is archived. */
  readonly ends: boolean
}

/** Which version a run goes on with when its batch closes. */
export type BatchVersion =
  /** The one that the merge gives. */
  | 'newest'
  /** The newest one before the merge that has the step: the merge removes it, or pins it. */
  | 'earlier'
  /** Its own: the step that opened the batch says so. */
  | 'pinned'

/** Batches of a workflow that a merge meets while they are open. */
export interface OpenBatches {
  readonly workflow: string
  readonly batches: number
  readonly activities: number
  readonly steps: readonly {
    readonly ref: string
    readonly batches: number
    readonly activities: number
    /** Null where nothing goes on, since the workflow is archived, and where its steps were not read. */
    readonly goes_on_with: BatchVersion | null
  }[]
  /** Whether their runs end at the close, since their workflow is archived. */
  readonly ends: boolean
}

/** What a merge means for what is under way in the workflows that it touches. Only a server knows. */
export interface Effects {
  /** Most first, as the batches. */
  readonly runs: readonly PausedRuns[]
  readonly batches: readonly OpenBatches[]
  /** How many more workflows have paused runs, and open batches. */
  readonly unlisted: { readonly runs: number; readonly batches: number }
}

export interface PlanEnd {
  /** The environment, branch or commit as it was named. */
  readonly name: string
  readonly kind: 'environment' | 'branch' | 'commit'
  /** Null for a commit. */
  readonly ref: string | null
  readonly revision: Revision
}

/** What merging one tip into the branch of an environment would do. Plain JSON, documented in docs/spec/promotion.md. */
export interface PromotionPlan {
  readonly environment: EnvironmentName
  readonly base: PlanEnd
  readonly head: PlanEnd
  /** The plan is void when one of these moves. */
  readonly valid_for: {
    readonly base: Revision
    readonly head: Revision
    readonly merge_base: Revision | null
  }
  /** More than one after criss-cross merges. */
  readonly merge_bases: readonly Revision[]
  readonly relation: Relation
  /** `ready`: it can be merged, and what it gives would be applied. */
  readonly verdict: 'nothing_to_do' | 'ready' | 'blocked'
  readonly blocked_by: readonly PlanProblem[]
  readonly warnings: readonly PlanProblem[]
  readonly counts: Readonly<Record<WorkflowVerdict | 'moved', number>>
  /** By key. */
  readonly workflows: readonly WorkflowChange[]
  readonly shared: readonly SharedChange[]
  readonly environments: readonly EnvironmentChange[]
  /** For each workflow that the merge touches, as far as it was parsed: the batch steps whose open batches go on with it. */
  readonly batch_steps: readonly { readonly workflow: string; readonly refs: readonly string[] }[]
  readonly conflicts: readonly Conflict[]
  /** What is wrong with the files that the merge gives, as far as they were read. */
  readonly diagnostics: readonly Diagnostic[]
  /** How many workflows of how many were parsed. */
  readonly read: { readonly workflows: number; readonly of: number }
  /** The id of `workflows/` after the merge; null where something conflicts. */
  readonly result_tree: string | null
  readonly prune: PruneVerdict
  readonly order: OrderVerdict
  readonly back_merge: BackMerge | null
  readonly effects: Effects | null
}
