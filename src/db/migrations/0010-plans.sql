-- What was asked about a promotion, for the process that reads Git, and what it has answered.
create table plan_requests (
  environment text not null,
  id uuid not null,
  -- An environment, a branch or the id of a commit, as it was named.
  head text not null,
  requested_at timestamptz not null,
  answered_at timestamptz,
  -- A hash of all that the plan depends on: an answer with the same one need not be worked out again.
  fingerprint text,
  plan jsonb,
  -- {code, message} where there is no plan.
  problem jsonb,
  primary key (environment, id),
  constraint plan_requests_answer_matches_time check ((answered_at is null) = (plan is null and problem is null))
);
-- The requests that wait for the leading process.
create index plan_requests_open on plan_requests (requested_at) where answered_at is null;
-- The answer that can be used again.
create index plan_requests_fingerprint on plan_requests (environment, fingerprint) where plan is not null;
-- The sweep.
create index plan_requests_requested on plan_requests (requested_at);
