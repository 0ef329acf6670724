-- A call that its agent follows by polling. What is followed is an approval, a task of the
-- upstream's own, or a call that runs here and now.
create table tasks (
    id            text    not null primary key,
    agent         text    not null,
    upstream      text    not null,
    session       text,
    form          text    not null check (form in ('extension', 'core')),
    tool          text    not null,
    approval      text,
    remote        text,
    node          text,
    answer_kind   text,
    answer        text,
    created_at    bigint  not null,
    changed_at    bigint  not null,
    waits_until   bigint  not null,
    expires_at    bigint  not null,
    cancelled_at  bigint
);
create index tasks_agent on tasks (agent, upstream, created_at, id);
create index tasks_approval on tasks (approval) where approval is not null;
create index tasks_waiting on tasks (waits_until) where approval is not null;
create index tasks_expiry on tasks (expires_at);

-- What is said to a call that runs, and what it asks, while it runs.
create table runs (
    approval    text    not null primary key,
    stop_at     bigint,
    questions   text,
    answers     text,
    changed_at  bigint  not null
);
