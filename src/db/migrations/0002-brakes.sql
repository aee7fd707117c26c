alter table environments
  -- What guards the environment, as the default branch says.
  add column policy jsonb not null default '{"prune_max_percent": 20}',
  -- A revision of the default branch does not loosen its own guard: `policy_revision` brought `policy`,
  -- and is itself still held to `policy_before`.
  add column policy_before jsonb not null default '{"prune_max_percent": 20}',
  add column policy_revision text,
  -- {reason, actor, since} while nothing may be applied.
  add column suspension jsonb;

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
