-- What a webhook of a Git host has announced: a branch, and the commit that it is to show before long.
create table git_hints (
  branch text not null check (length(branch) <= 500),
  revision text not null check (length(revision) <= 64),
  hinted_at timestamptz not null,
  primary key (branch, revision)
);

-- Deliveries that were taken, for a day: one that comes again wakes nothing.
create table git_deliveries (
  provider text not null,
  id text not null check (length(id) <= 255),
  received_at timestamptz not null,
  primary key (provider, id)
);
-- The sweep of deliveries older than a day.
create index git_deliveries_received on git_deliveries (received_at);

-- One row per kind of Git host that has ever delivered something.
create table git_hooks (
  provider text primary key,
  last_delivery_at timestamptz not null
);
