-- breaking: a process that does not know waits would fail the runs that wait.
-- What some workflow of an environment waits for, or once did: all else is not kept.
create table event_listeners (
  environment text not null,
  event text not null,
  primary key (environment, event)
);

-- What has happened to a recipient, kept for as long as a run may still have to look at it.
create table recipient_events (
  environment text not null,
  id uuid not null,
  event text not null,
  collection text not null,
  recipient text not null,
  data jsonb not null,
  inserted_at timestamptz not null,
  -- Whether the runs that wait for it were told.
  told boolean not null default false,
  primary key (environment, id)
);
create index recipient_events_recipient
  on recipient_events (environment, collection, recipient, event, inserted_at);
create index recipient_events_untold on recipient_events (inserted_at) where not told;
create index recipient_events_told on recipient_events (inserted_at) where told;

-- The waits of runs for an event, and what came of them.
create table event_waits (
  environment text not null,
  run_id uuid not null,
  step_ref text not null,
  event text not null,
  collection text not null,
  recipient text not null,
  opened_at timestamptz not null,
  expires_at timestamptz not null,
  -- Whether what had happened before it was committed is still to be looked for.
  fresh boolean not null,
  -- Null while it is open.
  matched boolean,
  event_id uuid,
  data jsonb,
  -- Events that were looked at and did not match.
  seen uuid[] not null default '{}',
  primary key (environment, run_id, step_ref)
);
create index event_waits_open on event_waits (environment, collection, recipient, event)
  where matched is null;
create index event_waits_fresh on event_waits (opened_at) where fresh;
