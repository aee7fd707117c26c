-- Sets of users, optionally as members of a tenant. One that a workflow names is there without a row here.
create table audiences (
  environment text not null,
  key text not null,
  created_at timestamptz not null,
  primary key (environment, key)
);

create table audience_members (
  environment text not null,
  audience text not null,
  user_id text not null,
  -- Empty: of no tenant.
  tenant text not null,
  -- Time-ordered: lists go by it.
  id uuid not null,
  added_at timestamptz not null,
  primary key (environment, audience, user_id, tenant)
);
create index audience_members_of_audience on audience_members (environment, audience, id);
create index audience_members_of_user on audience_members (environment, user_id);

-- Which workflows name an audience.
create index versions_audiences on versions using gin ((workflow -> 'trigger' -> 'audiences'));
