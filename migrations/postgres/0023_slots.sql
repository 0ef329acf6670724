-- Each transaction adds to one of the sixteen slots by its own number, no longer by its connection's:
-- who waited for another's row in vain adds to another one when it tries again, and transactions
-- that begin one after the other never wait for each other.
create or replace function approvals_counted_added() returns trigger language plpgsql as $$
begin
    insert into approval_counts as c (agent, state, slot, n)
    select x.agent, x.state, txid_current() % 16, count(*)
      from (select agent, state from added union all select '', state from added) x
     group by x.agent, x.state order by x.agent, x.state
    on conflict (agent, state, slot) do update set n = c.n + excluded.n;
    return null;
end $$;
create or replace function approvals_counted_changed() returns trigger language plpgsql as $$
begin
    insert into approval_counts as c (agent, state, slot, n)
    select x.agent, x.state, txid_current() % 16, sum(x.n)
      from (values (old.agent, old.state, -1), ('', old.state, -1),
                   (new.agent, new.state, 1), ('', new.state, 1)) as x (agent, state, n)
     group by x.agent, x.state order by x.agent, x.state
    on conflict (agent, state, slot) do update set n = c.n + excluded.n;
    return null;
end $$;
create or replace function approvals_counted_removed() returns trigger language plpgsql as $$
begin
    insert into approval_counts as c (agent, state, slot, n)
    select x.agent, x.state, txid_current() % 16, -count(*)
      from (select agent, state from removed union all select '', state from removed) x
     group by x.agent, x.state order by x.agent, x.state
    on conflict (agent, state, slot) do update set n = c.n + excluded.n;
    return null;
end $$;
