-- breaking: a process that does not know of retirements would take what they archive for drift, and bring it back.

alter table environments
  -- {reason, actor, since} where an operator has taken it out of service.
  add column retirement jsonb;

alter table brake_events drop constraint brake_events_kind_check;
alter table brake_events add constraint brake_events_kind_check
  check (kind in ('allow_prune', 'allow_rewrite', 'suspend', 'resume', 'retire', 'revive', 'pin', 'unpin'));

-- From now on what guards an environment on the default branch is the policy that was last applied with a revision.
update environments set policy_before = policy where attempted_revision is not distinct from observed_revision;
