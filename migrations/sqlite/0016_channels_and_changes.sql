-- Whose lease a message on its way is: when that process is dead, another sends it.
alter table outbox add column node text;
create index outbox_lane on outbox (notifier, due_at) where state = 'due';
create index outbox_node on outbox (node) where node is not null;

-- Channels whose other side wants no more messages. `entry` is what the configuration said of it: a
-- changed entry is another channel.
create table channels (
    notifier     text    not null primary key,
    entry        text    not null,
    disabled_at  bigint  not null,
    detail       text    not null
);

-- Changes of approvals in the order in which they could be seen: null until a change has its number,
-- given by one writer at a time; 0 for those that are older than the numbers.
alter table approvals add column change_seq bigint default 0;
create index approvals_change on approvals (change_seq);
create index approvals_unnumbered on approvals (changed_at) where change_seq is null;
create table change_counter (
    n  bigint  not null
);
insert into change_counter (n) values (0);

-- What a process runs as tasks, for comparing it with what it knows.
create index tasks_node on tasks (node) where node is not null;
