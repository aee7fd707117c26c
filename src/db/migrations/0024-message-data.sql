-- breaking: a process that does not know it would show messages without the data of their triggers.
-- What the run of a message had of its own: laid over the data of its trigger, or, where `data_whole`, in its place.
-- A trigger may bring 10 MB for a thousand recipients, and is stored once.
alter table messages alter column data drop not null;
alter table messages add column data_whole boolean not null default true;

-- The data of a message, put together.
create function message_data(environment text, workflow_run_id uuid, data jsonb, data_whole boolean)
returns jsonb
language sql
stable
return case
  when data_whole then data
  else (
    select case when message_data.data is null then w.data else w.data || message_data.data end
    from workflow_runs w
    where w.environment = message_data.environment and w.id = message_data.workflow_run_id
  )
end;
