-- No plan depends on what these hold, and to read and sort samples of them is most of what an analysis costs.
alter table messages
  alter column data set statistics 0,
  alter column content set statistics 0,
  alter column events set statistics 0,
  alter column actor set statistics 0;
alter table run_steps
  alter column events set statistics 0;
alter table runs
  alter column position set statistics 0,
  alter column data set statistics 0,
  alter column subscription set statistics 0;
