-- breaking: a process that does not know subscriptions would end a fan-out before those who are reached by them have runs.
-- Who is reached when an object is named as a recipient.
create table subscriptions (
  environment text not null,
  object_collection text not null,
  object_id text not null,
  -- Who is subscribed: a user, or another object.
  collection text not null,
  recipient text not null,
  -- Time-ordered: lists go by it.
  id uuid not null,
  properties jsonb not null,
  inserted_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (environment, object_collection, object_id, collection, recipient)
);
create index subscriptions_of_object on subscriptions (environment, object_collection, object_id, id);
create index subscriptions_of_recipient on subscriptions (environment, collection, recipient, id);
-- The objects among the subscribers of an object, which are few.
create index subscriptions_of_objects
  on subscriptions (environment, object_collection, object_id, collection, recipient)
  where left(collection, 1) <> '$';

-- Where the fan-out of a trigger goes on; null before it has begun, and once it is done.
alter table workflow_runs add column fan_out_cursor jsonb;
-- The subscription by which a recipient was reached, as it was then; null where the trigger names the recipient.
alter table runs add column subscription jsonb;
