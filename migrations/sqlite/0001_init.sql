-- Times are microseconds since 1970 in UTC; JSON is text, exactly as it came; flags are 0 or 1.

create table approvals (
    id              text    not null primary key,
    version         bigint  not null,
    state           text    not null check (state in ('pending', 'approved', 'running', 'completed',
                                                      'rejected', 'expired', 'cancelled', 'indeterminate')),
    upstream        text    not null,
    tool            text    not null,
    params          text    not null,
    digest          text    not null,
    agent           text    not null,
    client          text,
    rule            text    not null,
    reason          text,
    risk            text,
    severity        text,
    terms           text    not null,
    sensitive       bigint  not null,
    audience        text    not null,
    unattended      bigint  not null,
    decisions       text    not null,
    created_at      bigint  not null,
    expires_at      bigint  not null,
    decided_at      bigint,
    claim_deadline  bigint,
    finished_at     bigint,
    changed_at      bigint  not null,
    end_reason      text,
    outcome_kind    text,
    outcome         text,
    settled         text,
    owed            bigint  not null,
    executor        text,
    ran_before      bigint
);

-- The identical call never makes a second approval while one is open.
create unique index approvals_open on approvals (agent, digest)
    where state in ('pending', 'approved', 'running') or (state = 'indeterminate' and settled is null);
create index approvals_identical on approvals (agent, digest, finished_at);
create index approvals_state on approvals (state, id);
create index approvals_expiry on approvals (expires_at) where state = 'pending';
create index approvals_claim on approvals (claim_deadline) where state = 'approved';
create index approvals_changed on approvals (changed_at);
create index approvals_new on approvals (agent, created_at);
create index approvals_waiting on approvals (agent) where state in ('pending', 'approved');
create index approvals_agent_state on approvals (agent, state, id);
create index approvals_finished on approvals (finished_at);

-- One lease per process; holds and executions of a dead node are known by it.
create table nodes (
    id                text    not null primary key,
    started_at        bigint  not null,
    lease_expires_at  bigint  not null
);

create table holds (
    id          text    not null primary key,
    approval    text    not null,
    node        text    not null,
    agent       text    not null,
    created_at  bigint  not null
);
create index holds_approval on holds (approval);
create index holds_agent on holds (agent);
create index holds_node on holds (node);

create table outbox (
    id           text    not null primary key,
    approval     text,
    notifier     text    not null,
    topic        text    not null,
    recipient    text,
    payload      text,
    state        text    not null check (state in ('due', 'delivered', 'dropped')),
    attempts     bigint  not null,
    created_at   bigint  not null,
    due_at       bigint  not null,
    give_up_at   bigint  not null,
    finished_at  bigint
);
create index outbox_due on outbox (due_at) where state = 'due';
create index outbox_approval on outbox (approval);
create index outbox_delivered on outbox (recipient, topic, finished_at) where state = 'delivered';
create index outbox_finished on outbox (finished_at);

create table attempts (
    delivery   text    not null,
    number     bigint  not null,
    at         bigint  not null,
    result     text    not null,
    detail     text    not null,
    primary key (delivery, number)
);

create table review_links (
    hash        text    not null primary key,
    approval    text    not null,
    reviewer    text    not null,
    created_at  bigint  not null
);
create index review_links_approval on review_links (approval);

create table sign_ins (
    hash        text    not null primary key,
    reviewer    text    not null,
    expires_at  bigint  not null,
    used_at     bigint
);

create table sessions (
    hash        text    not null primary key,
    reviewer    text    not null,
    via         text    not null,
    created_at  bigint  not null,
    seen_at     bigint  not null
);

create table client_sessions (
    id            text    not null primary key,
    agent         text    not null,
    upstream      text    not null,
    version       text    not null,
    client        text,
    capabilities  text    not null,
    created_at    bigint  not null,
    seen_at       bigint  not null
);
create index client_sessions_agent on client_sessions (agent);

create table rate_uses (
    key  text    not null,
    at   bigint  not null
);
create index rate_uses_key on rate_uses (key, at);

-- Only added to. `seq`, `prev` and `hash` are given by the one sealer, in order of `id`.
create table audit (
    id        integer primary key autoincrement,
    seq       bigint  unique,
    at        bigint  not null,
    kind      text    not null,
    actor     text    not null,
    approval  text,
    data      text    not null,
    prev      text,
    hash      text
);
create index audit_unsealed on audit (id) where seq is null;
create index audit_approval on audit (approval);

create table secrets (
    name   text  not null primary key,
    value  text  not null
);
