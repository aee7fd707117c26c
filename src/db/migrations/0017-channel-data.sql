-- Where a recipient is reached on a channel of kind push or chat: devices, subscriptions or connections.
create table channel_data (
  environment text not null,
  collection text not null,
  recipient text not null,
  -- The key of the channel; it may come and go with revisions.
  channel text not null,
  data jsonb not null,
  updated_at timestamptz not null,
  primary key (environment, collection, recipient, channel),
  foreign key (environment, collection, recipient)
    references recipients (environment, collection, id) on delete cascade
);

-- A step makes a message for each device or connection of its recipient.
alter table messages
  add column part integer not null default 0,
  drop constraint messages_once_per_step,
  add constraint messages_once_per_step unique (environment, run_id, step_ref, part);
