-- How many attempts to notify there are, by notifier and result. Kept by the database itself, so that
-- no statement can forget it, and read by /metrics instead of the attempts, which grow with use. `slot`
-- is always 0 here: there is one writer.
create table attempt_counts (
    notifier  text    not null,
    result    text    not null,
    slot      bigint  not null,
    n         bigint  not null,
    primary key (notifier, result, slot)
) without rowid;

create trigger attempts_counted_added after insert on attempts begin
    insert into attempt_counts (notifier, result, slot, n)
    select o.notifier, new.result, 0, 1 from outbox o where o.id = new.delivery
    on conflict (notifier, result, slot) do update set n = n + 1;
end;

create trigger attempts_counted_removed after delete on attempts begin
    update attempt_counts set n = n - 1
     where notifier = (select o.notifier from outbox o where o.id = old.delivery)
       and result = old.result and slot = 0;
end;

insert into attempt_counts (notifier, result, slot, n)
select o.notifier, t.result, 0, count(*)
  from attempts t join outbox o on o.id = t.delivery group by o.notifier, t.result;
