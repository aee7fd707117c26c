-- A public key stands in an application's pages: it opens what belongs to the user whose token comes with it.
alter table api_keys add column kind text not null default 'secret' check (kind in ('secret', 'public'));

-- What a call for many is about, where it is done after its answer, and how far it has come.
alter table bulk_operations
  add column request jsonb,
  add column cursor text,
  add column attempts integer not null default 0;
-- The loop that works on them.
create index bulk_operations_open on bulk_operations (attempts, inserted_at)
  where status in ('queued', 'processing');
