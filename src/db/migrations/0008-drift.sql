-- What a version's row says, as one value. Its id is a hash of the files alone; what was parsed from them has to
-- be compared too.
create function version_digest(key text, workflow jsonb, files jsonb, blobs jsonb, channel_uses jsonb, variable_uses jsonb)
returns text
language sql
immutable
return md5(key || workflow::text || files::text || blobs::text || channel_uses::text || variable_uses::text);

-- What the row said when it was written. Null where a process without drift detection wrote it: that is not judged.
alter table versions add column digest text;

update versions
set digest = version_digest(key, workflow, files, blobs, channel_uses, variable_uses);

-- The newest drift of an environment: {foundAt, outcome, found, repairs, pauses, pausedUntil}.
alter table environments add column drift jsonb;

-- What others than Belfry have changed in its own tables, and what came of it.
create table drift_events (
  environment text not null references environments (name),
  id uuid not null,
  -- The applied revision at the time.
  sequence bigint not null,
  revision text,
  -- [{what, key, fields}]
  found jsonb not null,
  -- How many there were; the list holds the first of them.
  count integer not null,
  outcome text not null check (outcome in ('repaired', 'suspended', 'fought', 'unrepairable')),
  inserted_at timestamptz not null,
  primary key (environment, id)
);

-- In which environments a version was applied, and under which revisions.
create index revision_workflows_version on revision_workflows (version_id);
