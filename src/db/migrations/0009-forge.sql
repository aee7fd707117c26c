-- What the forge is to be told about a commit, and what it was told last: the newest state per commit and
-- context. A context names the environment, so that two environments never share a row.
create table commit_statuses (
  environment text not null,
  sha text not null check (sha ~ '^[0-9a-f]{40}$'),
  context text not null,
  -- Some forges file a status under a branch.
  git_ref text not null,
  state text not null check (state in ('pending', 'success', 'failure', 'error')),
  description text not null check (length(description) <= 140),
  -- Null until the forge is known to show something.
  posted_state text,
  posted_description text,
  posts integer not null default 0,
  -- Failures since it was told last.
  attempts integer not null default 0,
  -- Null where nothing is to be told. While somebody does, the time at which another one may.
  due_at timestamptz,
  -- Of whoever is telling it now; made anew for each attempt, and kept when its process dies.
  claim uuid,
  claimed_by uuid,
  -- Why the last attempt failed.
  problem text,
  given_up_at timestamptz,
  updated_at timestamptz not null,
  primary key (sha, context),
  constraint commit_statuses_claim_is_due check (claim is null or due_at is not null),
  constraint commit_statuses_given_up check (given_up_at is null or (due_at is null and problem is not null))
) with (fillfactor = 70);
-- The loop that tells the forge.
create index commit_statuses_due on commit_statuses (due_at) where due_at is not null;
-- The release of a dead process's claims.
create index commit_statuses_claimed on commit_statuses (claimed_by) where claim is not null;
-- The sweep of what has long been told.
create index commit_statuses_updated on commit_statuses (updated_at) where due_at is null;

-- The forge asked to be left alone until then.
create table forge_pauses (
  -- Which forge and repository.
  place text primary key,
  until timestamptz not null
);

-- The open pull requests against branches that environments follow, and the one comment that each has.
create table pull_requests (
  -- Which forge, repository and instance.
  place text not null,
  number integer not null,
  base text not null,
  -- The tips that the plan is of; where one moves it is void.
  base_revision text not null,
  head_revision text not null,
  is_open boolean not null,
  -- The comment as it is to be; null where nothing is planned yet.
  body text,
  comment_id text,
  -- SHA-256 of the comment as it was written last.
  written text,
  attempts integer not null default 0,
  -- As of a commit's status. A claim outlives the plan that is being written, so that two are never written at once.
  due_at timestamptz,
  claim uuid,
  claimed_by uuid,
  problem text,
  updated_at timestamptz not null,
  primary key (place, number),
  constraint pull_requests_claim_is_due check (claim is null or due_at is not null),
  constraint pull_requests_body_is_due check (due_at is null or body is not null or claim is not null)
);
-- The loop that writes comments, and the release of a dead process's claims.
create index pull_requests_due on pull_requests (due_at) where due_at is not null;
