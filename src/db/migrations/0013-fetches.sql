-- breaking: a process that does not know fetch steps fails the runs that come to one.
-- The request that a run waits for at a fetch step: made outside any transaction, answered into this row. A run
-- has one at most, and none once it has gone on with the answer or has ended.
create table fetches (
  environment text not null,
  run_id uuid not null,
  step_ref text not null,
  -- Rendered once; each repetition is the same request. Secrets are placeholders.
  request jsonb not null,
  -- How often it was claimed: with the process the fence of a claim.
  calls integer not null default 0,
  -- The process that is making it, and since when.
  claimed_by uuid,
  claimed_at timestamptz,
  -- What became of it, without secrets, until the run has taken it.
  answer jsonb,
  -- When the run came to the step.
  inserted_at timestamptz not null,
  primary key (environment, run_id),
  constraint fetches_claim check ((claimed_by is null) = (claimed_at is null)),
  constraint fetches_answered_is_free check (answer is null or claimed_by is null)
) with (fillfactor = 70);
-- The release of a dead process's claims.
create index fetches_claimed on fetches (claimed_by) where claimed_by is not null;
