-- How many approvals of each agent are in each state; of all agents under the empty name. Kept by the
-- database itself, so that no statement can forget it. `slot` is always 0 here: there is one writer.
create table approval_counts (
    agent  text    not null,
    state  text    not null,
    slot   bigint  not null,
    n      bigint  not null,
    primary key (agent, state, slot)
) without rowid;

create trigger approvals_counted_added after insert on approvals begin
    insert into approval_counts (agent, state, slot, n)
    values (new.agent, new.state, 0, 1), ('', new.state, 0, 1)
    on conflict (agent, state, slot) do update set n = n + 1;
end;

create trigger approvals_counted_changed after update of state, agent on approvals
when old.state <> new.state or old.agent <> new.agent begin
    update approval_counts set n = n - 1
     where agent in (old.agent, '') and state = old.state and slot = 0;
    insert into approval_counts (agent, state, slot, n)
    values (new.agent, new.state, 0, 1), ('', new.state, 0, 1)
    on conflict (agent, state, slot) do update set n = n + 1;
end;

create trigger approvals_counted_removed after delete on approvals begin
    update approval_counts set n = n - 1
     where agent in (old.agent, '') and state = old.state and slot = 0;
end;

insert into approval_counts (agent, state, slot, n)
select agent, state, 0, count(*) from approvals group by agent, state;
insert into approval_counts (agent, state, slot, n)
select '', state, 0, count(*) from approvals group by state;

-- An agent's held requests are counted by this index alone, process by process.
drop index holds_agent;
create index holds_agent on holds (agent, node);
