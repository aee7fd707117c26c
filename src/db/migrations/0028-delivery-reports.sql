-- Addresses that take nothing more of a channel, until somebody clears them.
create table suppressions (
  environment text not null,
  -- The key of the channel; it may be gone by now.
  channel text not null,
  -- In small letters, a domain in ASCII; a phone number as E.164.
  address text not null,
  reason text not null check (reason in ('bounced', 'complained')),
  -- What the service said, without secrets.
  details text,
  message_id uuid not null,
  inserted_at timestamptz not null,
  primary key (environment, channel, address)
);

-- What services have told and must not count twice, such as a click.
create table channel_reports (
  environment text not null,
  channel text not null,
  digest bytea not null,
  received_at timestamptz not null,
  primary key (environment, channel, digest)
);
-- The sweep.
create index channel_reports_received on channel_reports (received_at);

-- Messages whose service is to be asked what became of them.
create table status_polls (
  environment text not null,
  message_id uuid not null,
  channel text not null,
  -- The service's id of the message.
  reference text not null,
  -- How often it was asked.
  attempt integer not null default 0,
  due_at timestamptz not null,
  -- The process that is asking; one without a lease is forgotten.
  claimed_by uuid,
  primary key (environment, message_id)
);
create index status_polls_due on status_polls (due_at);
