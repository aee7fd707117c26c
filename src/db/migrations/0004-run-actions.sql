-- The audit of what people did to single runs: who, what, when.
create table run_actions (
  environment text not null,
  id uuid not null,
  run_id uuid not null,
  action text not null check (action in ('wake', 'replay')),
  -- Of a replay: the workflow run that it made, and whether that sends.
  details jsonb,
  actor text not null,
  inserted_at timestamptz not null,
  primary key (environment, id)
);
