-- The gate of a throttle step: how many runs of a recipient passed it in the window that is open.
create table throttle_windows (
  environment text not null,
  workflow text not null,
  step_ref text not null,
  collection text not null,
  recipient text not null,
  -- What the step's key rendered to; '' where the step has none.
  key text not null,
  opened_at timestamptz not null,
  closes_at timestamptz not null,
  passes integer not null,
  primary key (environment, workflow, step_ref, collection, recipient, key)
) with (fillfactor = 70);
-- The sweep of windows that have closed.
create index throttle_windows_closes on throttle_windows (closes_at);
