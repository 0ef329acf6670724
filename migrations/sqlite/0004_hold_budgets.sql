-- How long an agent's client waits, learned from the holds it dropped: with (1) or without (0) a
-- progress token. `drops` are milliseconds, newest last, separated by spaces.
create table hold_budgets (
    agent       text    not null,
    progress    bigint  not null,
    drops       text    not null,
    learned_ms  bigint,
    learned_at  bigint,
    primary key (agent, progress)
);
