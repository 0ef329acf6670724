-- How many attempts to notify there are, by notifier and result. Kept by the database itself, so that
-- no statement can forget it, and read by /metrics instead of the attempts, which grow with use. A count
-- is the sum of its slots: each connection adds to one of sixteen, so that two that write at once seldom
-- wait for each other's row. Each statement changes its rows in their order.
create table attempt_counts (
    notifier  text    not null,
    result    text    not null,
    slot      bigint  not null,
    n         bigint  not null,
    primary key (notifier, result, slot)
) with (fillfactor = 50);

create function attempts_counted_added() returns trigger language plpgsql as $$
begin
    insert into attempt_counts as c (notifier, result, slot, n)
    select o.notifier, a.result, pg_backend_pid() % 16, count(*)
      from added a join outbox o on o.id = a.delivery
     group by o.notifier, a.result order by o.notifier, a.result
    on conflict (notifier, result, slot) do update set n = c.n + excluded.n;
    return null;
end $$;

create function attempts_counted_removed() returns trigger language plpgsql as $$
begin
    insert into attempt_counts as c (notifier, result, slot, n)
    select o.notifier, r.result, pg_backend_pid() % 16, -count(*)
      from removed r join outbox o on o.id = r.delivery
     group by o.notifier, r.result order by o.notifier, r.result
    on conflict (notifier, result, slot) do update set n = c.n + excluded.n;
    return null;
end $$;

create trigger attempts_counted_added after insert on attempts
    referencing new table as added for each statement execute function attempts_counted_added();
create trigger attempts_counted_removed after delete on attempts
    referencing old table as removed for each statement execute function attempts_counted_removed();

-- Nobody has written since the triggers are there: they took the table's lock.
insert into attempt_counts (notifier, result, slot, n)
select o.notifier, t.result, 0, count(*)
  from attempts t join outbox o on o.id = t.delivery group by o.notifier, t.result;
