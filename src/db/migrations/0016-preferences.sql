-- breaking: a process that does not know preferences would send what they forbid.
-- What recipients want to get. Deleted and merged with the recipient.
create table preference_sets (
  environment text not null,
  collection text not null,
  recipient text not null,
  -- 'default', or the id of the tenant that it is for.
  id text not null,
  settings jsonb not null,
  inserted_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (environment, collection, recipient, id)
);

-- What calls for many have done, for those who ask. Kept for thirty days.
create table bulk_operations (
  environment text not null,
  id uuid not null,
  -- Such as 'users.set_preferences'.
  name text not null,
  status text not null check (status in ('queued', 'processing', 'completed', 'failed')),
  total integer not null,
  processed integer not null,
  succeeded integer not null,
  -- [{id, collection}] of those for whom it failed.
  errors jsonb not null,
  inserted_at timestamptz not null,
  started_at timestamptz,
  completed_at timestamptz,
  failed_at timestamptz,
  updated_at timestamptz not null,
  primary key (environment, id)
);
-- The sweep of old ones.
create index bulk_operations_inserted on bulk_operations (inserted_at);
