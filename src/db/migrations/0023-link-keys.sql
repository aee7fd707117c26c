-- What links to us are sealed with. Made once, by Postgres, and never sent anywhere.
create table link_keys (
  id integer primary key check (id = 1),
  secret bytea not null check (length(secret) = 32),
  created_at timestamptz not null
);
insert into link_keys (id, secret, created_at)
select 1,
  sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')),
  clock_timestamp();
