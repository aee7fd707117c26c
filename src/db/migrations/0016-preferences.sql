-- breaking: a process that does not know preferences would send what they forbid.
-- What recipients want to get. Deleted and merged with the recipient.
create table preference_sets (
  environment text not null,
  collection text not null,
  recipient text not null,
  -- 'default', or the id of the tenant that it is for.
  id text not null,
  settings jsonb not null,
  inserted_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (environment, collection, recipient, id)
);
