-- breaking: a process that does not know the brakes would apply what they hold back.
alter table environments
  -- What guards the environment, as the default branch says.
  add column policy jsonb not null default '{"prune_max_percent": 20}',
  -- A revision of the default branch does not loosen its own guard: `policy_revision` brought `policy`,
  -- and is itself still held to `policy_before`.
  add column policy_before jsonb not null default '{"prune_max_percent": 20}',
  add column policy_revision text,
  -- {reason, actor, since} while nothing may be applied.
  add column suspension jsonb,
  -- {revision, sequence, reason, actor, since, expiresAt} while an earlier revision is live in the place of the tip.
  add column pin jsonb,
  -- The highest sequence that came from Git and not from a pin: what the prune guard compares a tip with.
  add column followed_sequence bigint not null default 0;

update environments set followed_sequence = sequence;

-- What else a revision leaves in its environment, so that it can be brought back. Null where it was
-- applied before that was kept.
alter table revisions
  add column parts jsonb,
  add column diagnostics jsonb;

update revisions r
set parts = e.parts, diagnostics = case when e.state = 'ready' then e.diagnostics else '[]' end
from environments e
where e.name = r.environment and e.sequence = r.sequence;

-- Which version each applied revision gave to the workflows that it changed. What a key had at a revision
-- is its newest row up to there; without a version it is archived.
create table revision_workflows (
  environment text not null references environments (name),
  key text not null,
  sequence bigint not null,
  version_id text references versions (id),
  tree text,
  primary key (environment, key, sequence),
  constraint revision_workflows_tree_with_version check ((version_id is null) = (tree is null))
);

insert into revision_workflows (environment, key, sequence, version_id, tree)
select environment, key, sequence,
  case when archived_at is null then version_id end, case when archived_at is null then tree end
from workflows;

-- Who used a brake, when and why. A prune is confirmed by its event.
create table brake_events (
  environment text not null references environments (name),
  id uuid not null,
  kind text not null check (kind in ('allow_prune', 'suspend', 'resume', 'pin', 'unpin')),
  revision text,
  reason text,
  actor text not null,
  expires_at timestamptz,
  inserted_at timestamptz not null,
  primary key (environment, id)
);
