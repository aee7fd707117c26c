-- When workflows run without being triggered: once, or again and again.
create table schedules (
  environment text not null,
  -- Time-ordered: lists go by it.
  id uuid not null,
  -- Its name in the environment's file; null for one that was made through the API.
  declared_key text,
  workflow text not null,
  collection text not null,
  recipient text not null,
  actor jsonb,
  tenant text,
  data jsonb not null,
  -- Rules as the wire writes them; none for what happens once.
  repeats jsonb not null,
  scheduled_at timestamptz,
  ending_at timestamptz,
  -- In the first period that counts, for rules with an interval.
  anchor_at timestamptz not null,
  paused boolean not null,
  -- Of the recipient when the next occurrence was worked out; null where that is to be done again.
  timezone text,
  last_occurrence_at timestamptz,
  -- Null where there is no other one.
  next_occurrence_at timestamptz,
  -- Why the last occurrence started nothing.
  last_problem jsonb,
  inserted_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (environment, id),
  constraint schedules_paused_has_no_next check (not paused or next_occurrence_at is null)
);
-- The loop that starts what is due.
create index schedules_due on schedules (next_occurrence_at) where next_occurrence_at is not null;
create index schedules_of_workflow on schedules (environment, workflow, id);
create index schedules_of_recipient on schedules (environment, collection, recipient, id);
create unique index schedules_declared on schedules (environment, declared_key, collection, recipient)
  where declared_key is not null;
