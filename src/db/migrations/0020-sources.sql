-- What the sources of an environment have sent, and what came of it.
create table source_events (
  environment text not null,
  -- Time-ordered: lists go by it.
  id uuid not null,
  source text not null,
  -- By which the sender knows it; null where it gives none, and where it was replayed.
  message_id text,
  -- track, identify, group, alias, page, screen, or webhook.
  kind text not null,
  event text,
  user_id text,
  -- As it was sent; null where it cannot be stored.
  body jsonb,
  -- received until it is dealt with, in the same transaction; then done, ignored, or failed.
  status text not null,
  -- The triggers that it made or could not make, and what else went wrong.
  results jsonb not null default '[]',
  replay_of uuid,
  happened_at timestamptz,
  received_at timestamptz not null,
  primary key (environment, id)
);
create unique index source_events_once on source_events (environment, source, message_id)
  where message_id is not null;
create index source_events_of_source on source_events (environment, source, id);
create index source_events_received on source_events (received_at);

-- Which workflows name an event of a source.
create index versions_events on versions using gin ((workflow -> 'trigger' -> 'events') jsonb_path_ops);
