-- How many approvals of each agent are in each state; of all agents under the empty name. Kept by the
-- database itself, so that no statement can forget it. A count is the sum of its slots: each
-- connection adds to one of sixteen, so that two that write at once seldom wait for each other's row.
-- Each statement changes its rows in their order.
create table approval_counts (
    agent  text    not null,
    state  text    not null,
    slot   bigint  not null,
    n      bigint  not null,
    primary key (agent, state, slot)
) with (fillfactor = 50);

create function approvals_counted_added() returns trigger language plpgsql as $$
begin
    insert into approval_counts as c (agent, state, slot, n)
    select x.agent, x.state, pg_backend_pid() % 16, count(*)
      from (select agent, state from added union all select '', state from added) x
     group by x.agent, x.state order by x.agent, x.state
    on conflict (agent, state, slot) do update set n = c.n + excluded.n;
    return null;
end $$;

create function approvals_counted_changed() returns trigger language plpgsql as $$
begin
    insert into approval_counts as c (agent, state, slot, n)
    select x.agent, x.state, pg_backend_pid() % 16, sum(x.n)
      from (values (old.agent, old.state, -1), ('', old.state, -1),
                   (new.agent, new.state, 1), ('', new.state, 1)) as x (agent, state, n)
     group by x.agent, x.state order by x.agent, x.state
    on conflict (agent, state, slot) do update set n = c.n + excluded.n;
    return null;
end $$;

create function approvals_counted_removed() returns trigger language plpgsql as $$
begin
    insert into approval_counts as c (agent, state, slot, n)
    select x.agent, x.state, pg_backend_pid() % 16, -count(*)
      from (select agent, state from removed union all select '', state from removed) x
     group by x.agent, x.state order by x.agent, x.state
    on conflict (agent, state, slot) do update set n = c.n + excluded.n;
    return null;
end $$;

create trigger approvals_counted_added after insert on approvals
    referencing new table as added for each statement execute function approvals_counted_added();
create trigger approvals_counted_changed after update of state, agent on approvals
    for each row when (old.state is distinct from new.state or old.agent is distinct from new.agent)
    execute function approvals_counted_changed();
create trigger approvals_counted_removed after delete on approvals
    referencing old table as removed for each statement execute function approvals_counted_removed();

-- Nobody has written since the triggers are there: they took the table's lock.
insert into approval_counts (agent, state, slot, n)
select agent, state, 0, count(*) from approvals group by agent, state;
insert into approval_counts (agent, state, slot, n)
select '', state, 0, count(*) from approvals group by state;

-- An agent's held requests are counted by this index alone, process by process.
drop index holds_agent;
create index holds_agent on holds (agent, node);
