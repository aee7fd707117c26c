-- How long data is as text: what it takes in memory, since it is stored compressed. Null in rows of before, and where
-- there is no data of its own.
alter table workflow_runs add column data_bytes integer;
alter table runs add column data_bytes integer;
alter table batch_activities add column data_bytes integer;
alter table fetches add column answer_bytes integer;
