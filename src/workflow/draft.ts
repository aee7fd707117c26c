import type { WorkflowKey } from '../ids.ts'
import type { OutputKind } from '../steps/step.ts'
import type { Diagnostic, Position } from './diagnostic.ts'
import type { ChannelUse, VariableUse, Workflow } from './workflow.ts'

/** A file or what stands in its place in a directory of the repository. */
export interface Entry {
  /** The object id of its content. */
  readonly blob: string
  /** As Git writes it: `100644`, `100755`, `120000` (a symbolic link) or `160000` (a submodule). */
  readonly mode: string
  /** Empty for what is no file. */
  readonly bytes: Uint8Array
}

/** A place in a file. */
export interface Place extends Position {
  readonly path: string
}

/** A template's need of a shared part, checked when the shared parts are known. */
export interface PartUse {
  readonly part: 'partial' | 'layout' | 'file'
  /** As the template or the step says it. */
  readonly name: string
  /** What the part is rendered for. */
  readonly kind: OutputKind
  /** Whether secret variables may stand in it. */
  readonly secrets: boolean
  readonly place: Place
}

/** A template's use of `t`; the key is null where it is computed. */
export interface TextUse {
  readonly key: string | null
  readonly place: Place
}

/** An e-mail step's layout; `default` stands in where the step says nothing. */
export interface LayoutUse {
  readonly layout?: string
  /** Where the body is HTML or MJML: its own text, or its file by path. */
  readonly body?: { readonly text: string } | { readonly path: string }
  readonly place: Place
}

/** All that a workflow's own directory says. It holds plain data, so that many can be kept. */
export interface Draft {
  readonly workflow: Workflow
  /** Path → blob id of every file in the directory. */
  readonly blobs: Readonly<Record<string, string>>
  /** Path → source of the template files that steps name, and of the samples. */
  readonly files: Readonly<Record<string, string>>
  readonly parts: readonly PartUse[]
  readonly layouts: readonly LayoutUse[]
  readonly texts: readonly TextUse[]
  readonly channelUses: readonly ChannelUse[]
  readonly variableUses: readonly VariableUse[]
}

/** A workflow's directory, read without the parts that it shares with others. */
export interface ParsedWorkflow {
  readonly key: WorkflowKey
  /** Sorted. */
  readonly diagnostics: readonly Diagnostic[]
  /** There where the file can be read at all; with an error, it is what is in order. */
  readonly draft?: Draft
}
