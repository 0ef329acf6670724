-- By which policies a process judges, so that the others know whether they judge alike.
alter table nodes add column policies text not null default '';

-- What is owed is read whole at a start.
create index approvals_owed on approvals (agent, digest) where owed = 1;
