-- Which step of which run has triggered a workflow, and how deep triggers of that kind lie in each other.
alter table workflow_runs add column parent_run_id uuid;
alter table workflow_runs add column parent_step text;
alter table workflow_runs add column depth integer not null default 0;
-- A step of a run triggers once.
create unique index workflow_runs_once_per_step on workflow_runs (environment, parent_run_id, parent_step)
  where parent_run_id is not null;
