-- breaking: a process that does not know batches would take a run out of its open batch without the others.
-- What a batch step collects for one recipient while its window is open, and after that what the run that
-- goes on says of it.
create table batches (
  environment text not null,
  id uuid not null,
  -- SHA-256 of what is batched apart: the columns from `workflow` to `sandbox`.
  bucket text not null,
  workflow text not null,
  step_ref text not null,
  collection text not null,
  recipient text not null,
  -- '' where the trigger names none.
  tenant text not null,
  -- What the step's key rendered to; '' without a key, null where the key is missing.
  key text,
  -- Of a pinned batch; '' where the newest version goes on.
  version_id text not null,
  sandbox boolean not null,
  -- The run that goes on at the close. Null while none waits: the first one was let through at once.
  run_id uuid,
  flush_leading boolean not null,
  opened_at timestamptz not null,
  closes_at timestamptz not null,
  -- From then on nothing joins it any more.
  closed_at timestamptz,
  -- When its run went on, or was found to have nothing to go on with.
  taken_at timestamptz,
  activities integer not null,
  -- How many activities are shown, and whether the newest: what the step said at the close.
  render_limit integer,
  newest boolean,
  primary key (environment, id)
) with (fillfactor = 70);
-- One batch is open for each bucket, whoever opens it. It names nothing that changes with each activity.
create unique index batches_open on batches (environment, bucket) where closed_at is null;
-- The sweep of windows that were opened by what was let through, and that nobody joined.
create index batches_flush_leading on batches (opened_at) where flush_leading;

create table batch_activities (
  environment text not null,
  batch_id uuid not null,
  -- Time-ordered: the order in which the triggers were accepted.
  workflow_run_id uuid not null,
  run_id uuid not null,
  -- The run's own data over the trigger's, or, where `whole`, in its place.
  data jsonb,
  whole boolean not null,
  inserted_at timestamptz not null,
  primary key (environment, batch_id, workflow_run_id)
);

-- The batch that a run waits for, went on from, or is an activity of.
alter table runs add column batch_id uuid;
