-- Read from its end as quickly as the other way round. New runs come behind all others of their workflow, where pages
-- are filled; before all others they were left half empty, and were split for every few runs.
drop index runs_workflow;
create index runs_workflow on runs (environment, workflow, id);
