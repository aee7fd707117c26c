-- A public key stands in an application's pages: it opens what belongs to the user whose token comes with it.
alter table api_keys add column kind text not null default 'secret' check (kind in ('secret', 'public'));
