-- Everything but versions belongs to exactly one environment: the key of each such table starts with it.

create table leases (
  process uuid primary key,
  beats_at timestamptz not null,
  started_at timestamptz not null
);

create table reconcilers (
  repository text primary key,
  process uuid not null,
  -- Grows with each change of leader; a writer with an older number is refused.
  fence bigint not null,
  expires_at timestamptz not null,
  default_branch text,
  -- The id of environments/ on the default branch when its declarations were last taken over.
  declared_tree text
);

create table environments (
  name text primary key,
  git_ref text not null,
  declared boolean not null,
  state text not null check (state in ('ready', 'reconciling', 'stalled', 'suspended', 'waiting')),
  reason text not null,
  message text not null,
  -- The highest applied sequence; 0 before the first.
  sequence bigint not null default 0,
  observed_revision text,
  attempted_revision text,
  applied_at timestamptz,
  last_handled_request uuid,
  diagnostics jsonb not null default '[]',
  settings jsonb,
  -- Path → blob id of the environment's file and of all shared parts at the applied revision.
  parts jsonb not null default '{}',
  updated_at timestamptz not null,
  constraint environments_applied_matches_sequence
    check ((sequence = 0) = (observed_revision is null) and (sequence = 0) = (applied_at is null) and (sequence = 0) = (settings is null))
);

create table reconcile_requests (
  environment text not null references environments (name),
  id uuid not null,
  requested_at timestamptz not null,
  handled_at timestamptz,
  primary key (environment, id)
);

-- The history of an environment: what each applied revision changed.
create table revisions (
  environment text not null references environments (name),
  sequence bigint not null,
  revision text not null,
  settings jsonb not null,
  added text[] not null,
  changed text[] not null,
  archived text[] not null,
  applied_at timestamptz not null,
  primary key (environment, sequence)
);

-- Content-addressed and immutable: the same content in two environments is one row.
create table versions (
  id text primary key,
  key text not null,
  workflow jsonb not null,
  files jsonb not null,
  blobs jsonb not null,
  channel_uses jsonb not null,
  variable_uses jsonb not null,
  created_at timestamptz not null
);

create table workflows (
  environment text not null references environments (name),
  key text not null,
  version_id text not null references versions (id),
  -- The id of the directory's tree at the applied revision: what has not moved is not read again.
  tree text not null,
  -- The applied sequence that last changed this row.
  sequence bigint not null,
  archived_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (environment, key)
);

-- What may not be sent at present. workflow '' stands for all sending of the environment, channel '' for all channels.
create table switches (
  environment text not null references environments (name),
  workflow text not null,
  channel text not null,
  active boolean not null,
  reason text,
  actor text not null,
  expires_at timestamptz,
  updated_at timestamptz not null,
  primary key (environment, workflow, channel)
);

create table switch_events (
  environment text not null references environments (name),
  id uuid not null,
  workflow text not null,
  channel text not null,
  active boolean not null,
  reason text,
  actor text not null,
  expires_at timestamptz,
  inserted_at timestamptz not null,
  primary key (environment, id)
);

create table api_keys (
  environment text not null,
  id uuid not null,
  name text not null,
  -- SHA-256 of the key; the key itself is shown once and kept nowhere.
  hash bytea not null unique,
  scopes text[] not null,
  -- 'settings' keys come from BELFRY_API_KEYS and are revoked when they are gone from there.
  source text not null check (source in ('command', 'settings', 'development')),
  created_at timestamptz not null,
  revoked_at timestamptz,
  primary key (environment, id)
);

create table idempotency_keys (
  environment text not null,
  method text not null,
  path text not null,
  key text not null check (length(key) <= 255),
  request_hash bytea not null,
  request_id text not null,
  -- Null while the first request is under way; then its reply.
  status integer,
  reply jsonb,
  created_at timestamptz not null,
  primary key (environment, method, path, key)
);
-- The sweep of keys older than a day.
create index idempotency_keys_created on idempotency_keys (created_at);

-- Users are the collection '$users', tenants '$tenants'; every other collection holds objects.
create table recipients (
  environment text not null,
  collection text not null,
  id text not null,
  properties jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (environment, collection, id)
);

create table workflow_runs (
  environment text not null,
  id uuid not null,
  workflow text not null,
  version_id text not null,
  sequence bigint not null,
  revision text not null,
  trigger_source jsonb not null,
  actor jsonb,
  tenant text,
  data jsonb not null,
  settings jsonb not null,
  cancellation_key text,
  -- The recipients as named, in order: [{collection, id, data?}].
  recipients jsonb not null,
  fan_out text not null check (fan_out in ('pending', 'done')),
  -- Named but not known: no run, one entry here.
  missing jsonb not null default '[]',
  -- Cancelled as a whole, or for these recipients, before or after the fan-out.
  cancelled_at timestamptz,
  cancelled_recipients jsonb not null default '[]',
  inserted_at timestamptz not null,
  primary key (environment, id)
) with (fillfactor = 80);
-- Cancel by key.
create index workflow_runs_cancellation on workflow_runs (environment, workflow, cancellation_key)
  where cancellation_key is not null;

create table runs (
  environment text not null,
  id uuid not null,
  workflow_run_id uuid not null,
  workflow text not null,
  version_id text not null,
  collection text not null,
  recipient text not null,
  tenant text,
  status text not null check (status in ('queued', 'processing', 'paused', 'completed', 'cancelled')),
  outcome text check (outcome in ('completed', 'batched', 'throttled', 'halted', 'failed', 'cancelled')),
  reason text,
  -- Where the run is in its workflow: the path to its next step, and how often that step was tried.
  position jsonb not null default '[0]',
  -- The number of timeline rows written so far.
  steps integer not null default 0,
  attempt integer not null default 0,
  -- Why it sleeps ('delay', 'retry') and until when.
  waits_for text,
  wakes_at timestamptz,
  error_count integer not null default 0,
  -- $trigger_data: merged over the trigger's data for this recipient.
  data jsonb,
  inserted_at timestamptz not null,
  updated_at timestamptz not null,
  finished_at timestamptz,
  primary key (environment, id),
  constraint runs_once_per_recipient unique (environment, workflow_run_id, collection, recipient),
  constraint runs_outcome_matches_status check ((status in ('completed', 'cancelled')) = (outcome is not null)),
  constraint runs_finished_at_matches_status check ((status in ('completed', 'cancelled')) = (finished_at is not null)),
  constraint runs_wakes_at_matches_status check ((status = 'paused') = (wakes_at is not null))
) with (fillfactor = 70);
-- No index names what changes with each step: so an update writes the row and no index.
-- The wake-up loop.
create index runs_wakes on runs (wakes_at) where wakes_at is not null;
-- Lists of one workflow's runs, newest first.
create index runs_workflow on runs (environment, workflow, id desc);
-- Runs of a recipient.
create index runs_recipient on runs (environment, collection, recipient, id desc);

-- The timeline: one row per run and step reached, written with the step's commit.
create table run_steps (
  environment text not null,
  run_id uuid not null,
  number integer not null,
  ref text,
  type text,
  -- [{id, event, status, attempt, data, at}]
  events jsonb not null,
  primary key (environment, run_id, number)
);

create table messages (
  environment text not null,
  id uuid not null,
  run_id uuid not null,
  workflow_run_id uuid not null,
  workflow text not null,
  version_id text not null,
  step_ref text not null,
  channel text not null,
  channel_type text not null,
  provider text not null,
  collection text not null,
  recipient text not null,
  actor jsonb,
  tenant text,
  data jsonb not null,
  status text not null check (status in ('queued', 'sent', 'delivered', 'delivery_attempted', 'undelivered', 'not_sent', 'bounced')),
  -- Why it was not sent or not delivered; the same words as in runs and timeline.
  reason text,
  content jsonb not null,
  attempt integer not null default 0,
  -- When the next hand-over is due; null when none is.
  due_at timestamptz,
  -- When a job that will hand it over was put into the queue; null when it waits for the loop.
  enqueued_at timestamptz,
  -- The first time it was planned for, where that was later than its creation.
  scheduled_at timestamptz,
  expires_at timestamptz,
  -- The process that is handing it over, and since when.
  claimed_by uuid,
  claimed_at timestamptz,
  cancelled_at timestamptz,
  reference text,
  seen_at timestamptz,
  read_at timestamptz,
  interacted_at timestamptz,
  link_clicked_at timestamptz,
  archived_at timestamptz,
  -- [{id, type, data, at}], oldest first.
  events jsonb not null,
  inserted_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (environment, id),
  constraint messages_once_per_step unique (environment, run_id, step_ref),
  constraint messages_due_while_open check (due_at is null or status in ('queued', 'delivery_attempted')),
  constraint messages_claim check ((claimed_by is null) = (claimed_at is null))
) with (fillfactor = 70);
-- The loop that hands over what is due.
create index messages_due on messages (due_at)
  where due_at is not null and claimed_by is null and enqueued_at is null;
-- The loop that asks again for what no job came for.
create index messages_enqueued on messages (enqueued_at)
  where enqueued_at is not null and claimed_by is null;
-- The release of a dead process's claims.
create index messages_claimed on messages (claimed_by) where claimed_by is not null;
-- Messages of a recipient: the feed and the log.
create index messages_recipient on messages (environment, collection, recipient, id desc);
create index messages_workflow_run on messages (environment, workflow_run_id);

-- One row per attempt: what was sent to the provider and what it answered.
create table deliveries (
  environment text not null,
  message_id uuid not null,
  attempt integer not null,
  id uuid not null,
  service text not null,
  request jsonb not null,
  response jsonb,
  inserted_at timestamptz not null,
  primary key (environment, message_id, attempt, id)
);

-- The audit of cancellations: who asked, for what, and how much it matched.
create table cancellations (
  environment text not null,
  id uuid not null,
  workflow text not null,
  cancellation_key text,
  run_id uuid,
  recipients jsonb,
  runs_matched integer not null,
  messages_matched integer not null,
  actor text not null,
  inserted_at timestamptz not null,
  primary key (environment, id)
);

-- What is made once for this installation, such as the key that signs links.
create table installation (
  name text primary key,
  value jsonb not null
);
