import { brokenWorkflow as workflow, inApp, type BrokenFiles } from './files.ts'

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 9\n`
const WORKFLOW = 'workflows/welcome/workflow.yaml'
/** A workflow without a fault, for the parts beside it. */
const SOUND = inApp('Hello')

/** What may be wrong with a directory beside its workflow file. */
export const brokenDirectories: readonly BrokenFiles[] = [
  workflow('a file that is not there', inApp('{file: feed.md.hbs}'), '5:18 file_not_found'),
  workflow(
    'a path that leaves the directory',
    inApp('{file: ../../secret.txt}'),
    '5:18 path_leaves_directory',
  ),
  workflow(
    'a path into another workflow',
    inApp('{file: ../other/feed.md.hbs}'),
    '5:18 path_leaves_directory',
  ),
  workflow('a path from the root', inApp('{file: /etc/passwd}'), '5:18 path_leaves_directory'),
  workflow(
    'a path with backslashes',
    inApp('{file: "..\\\\secret"}'),
    '5:18 path_leaves_directory',
  ),
  {
    name: 'a symbolic link',
    files: { [WORKFLOW]: SOUND, 'workflows/welcome/feed.md.hbs': { mode: '120000' } },
    diagnostic: 'workflows/welcome/feed.md.hbs:1:1 symlink',
  },
  {
    name: 'a workflow file that is a symbolic link',
    files: { [WORKFLOW]: { mode: '120000' } },
    diagnostic: `${WORKFLOW}:1:1 symlink`,
  },
  {
    name: 'a directory that is a symbolic link',
    files: { 'workflows/welcome': { mode: '120000' } },
    diagnostic: 'workflows/welcome:1:1 symlink',
  },
  {
    name: 'a submodule',
    files: { 'workflows/welcome': { mode: '160000' } },
    diagnostic: 'workflows/welcome:1:1 submodule',
  },
  {
    name: 'a submodule inside a workflow',
    files: { [WORKFLOW]: SOUND, 'workflows/welcome/images': { mode: '160000' } },
    diagnostic: 'workflows/welcome/images:1:1 submodule',
  },
  {
    name: 'a template that is in LFS',
    files: { [WORKFLOW]: inApp('{file: feed.md.hbs}'), 'workflows/welcome/feed.md.hbs': POINTER },
    diagnostic: 'workflows/welcome/feed.md.hbs:1:1 lfs_pointer',
  },
  {
    name: 'a partial that is a symbolic link',
    files: { [WORKFLOW]: SOUND, 'workflows/_partials/button.hbs': { mode: '120000' } },
    diagnostic: 'workflows/_partials/button.hbs:1:1 symlink',
  },
  {
    name: 'a directory without a workflow',
    files: { 'workflows/welcome/email.html.hbs': 'Hello' },
    diagnostic: `${WORKFLOW}:1:1 missing_workflow_file`,
  },
  {
    name: 'a workflow twice',
    files: { [WORKFLOW]: SOUND, 'workflows/welcome/workflow.json': '{}' },
    diagnostic: 'workflows/welcome/workflow.json:1:1 two_workflow_files',
  },
  {
    name: 'a directory whose name is no key',
    files: { 'workflows/Welcome/workflow.yaml': SOUND },
    diagnostic: 'workflows/Welcome:1:1 invalid_key',
  },
  {
    name: 'a directory of 11 MB',
    files: { [WORKFLOW]: SOUND, 'workflows/welcome/film.mp4': Buffer.alloc(11 * 1024 * 1024) },
    diagnostic: 'workflows/welcome:1:1 directory_too_large',
  },
  {
    name: 'an unfinished schema file',
    files: {
      [WORKFLOW]: `trigger: {data_schema: {file: data.json}}\n${SOUND}`,
      'workflows/welcome/data.json': '{\n  "type": "object",\n  "required": "id"\n}\n',
    },
    diagnostic: 'workflows/welcome/data.json:3:15 invalid_data_schema',
  },
]
