-- What reviewers let through beforehand. `pinned` is a JSON object of pointers and values, `free` a
-- list of pointers.
create table grants (
    id                text    not null primary key,
    approval          text    not null,
    granted_by        text    not null,
    agent             text    not null,
    upstream          text    not null,
    tool              text    not null,
    rule              text    not null,
    policy            text    not null,
    tool_fingerprint  text    not null,
    rest              text    not null,
    pinned            text    not null,
    free              text    not null,
    max_uses          bigint  not null,
    used              bigint  not null,
    created_at        bigint  not null,
    expires_at        bigint  not null,
    ended_at          bigint,
    ended_by          text,
    end_reason        text
);
create index grants_open on grants (agent, upstream, tool, expires_at) where ended_at is null;
create index grants_created on grants (created_at, id);
create index grants_approval on grants (approval);
