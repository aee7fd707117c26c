-- Which recipients a workflow has run for, where it runs for each of them once. Nothing takes an entry back.
create table frequency_ledger (
  environment text not null,
  workflow text not null,
  collection text not null,
  recipient text not null,
  -- '' for a run of no tenant, and where once means once whatever the tenant.
  tenant text not null,
  workflow_run_id uuid not null,
  inserted_at timestamptz not null,
  -- The recipient first: what a user has had moves when it is merged into another one.
  primary key (environment, collection, recipient, workflow, tenant)
);
