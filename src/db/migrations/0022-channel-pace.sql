-- A channel whose service refuses it as a whole, until the service takes something from it again.
create table channel_refusals (
  environment text not null,
  -- The key of the channel; it may be gone by now.
  channel text not null,
  -- What the service said last, without secrets.
  details text not null,
  opened_at timestamptz not null,
  -- When one message may try whether it is mended.
  probe_at timestamptz not null,
  -- How often that was tried in vain.
  probes integer not null default 0,
  primary key (environment, channel)
);

-- How far the hand-overs through a channel are given away, by the rate that its service allows.
create table channel_rates (
  environment text not null,
  channel text not null,
  -- What the service counts by, where that is less than the channel; else ''.
  place text not null,
  -- When the next hand-over may be.
  free_at timestamptz not null,
  primary key (environment, channel, place)
);
-- The sweep.
create index channel_rates_free on channel_rates (free_at);

-- The hand-over of the channel's rate that was given to the message; null where none was.
alter table messages
  add column reserved_at timestamptz;
