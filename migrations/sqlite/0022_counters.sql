-- What the calls of an agent, or of all, come to within a window: one row for each counter, and for
-- each session that counts by itself.
create table counters (
    -- What counts together, a list in JSON: upstream, "counter" or "limit", its name or place, window,
    -- tool, agent.
    counter text not null,
    -- Empty where sessions don't matter.
    session text not null,
    -- Empty where upstreams count together.
    upstream text not null,
    -- Amounts by slot of time: "slot:amount slot:amount".
    slots text not null,
    -- When all of it has left the window, in microseconds.
    empty_at integer not null,
    primary key (counter, session)
);
create index counters_upstream on counters (upstream);

-- Until when a use of a window longer than 31 days is kept.
alter table rate_uses add column keep_until integer;
create index rate_uses_keep_until on rate_uses (keep_until) where keep_until is not null;
