-- breaking: a process that does not know these policies would apply what they hold back.

-- The fields that a policy has had since; what is stored goes on to be compared with what is declared.
alter table environments
  alter column policy set default '{"prune_max_percent": 20, "history": "apply", "signatures": "off", "promotion": "warn", "promotes_from": null}',
  alter column policy_before set default '{"prune_max_percent": 20, "history": "apply", "signatures": "off", "promotion": "warn", "promotes_from": null}';

update environments
set policy = '{"history": "apply", "signatures": "off", "promotion": "warn", "promotes_from": null}' || policy,
  policy_before = '{"history": "apply", "signatures": "off", "promotion": "warn", "promotes_from": null}' || policy_before;

alter table revisions
  -- Null where it was applied before that was kept.
  add column origin text check (origin in ('git', 'pin')),
  -- The revision before it on the branch, where it does not descend from that.
  add column rewritten_from text,
  -- Whose signature its commit has, where that was verified.
  add column signer text;

alter table brake_events drop constraint brake_events_kind_check;
alter table brake_events add constraint brake_events_kind_check
  check (kind in ('allow_prune', 'allow_rewrite', 'suspend', 'resume', 'pin', 'unpin'));
