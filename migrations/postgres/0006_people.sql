-- How somebody signs in with it: by a link that was mailed, or by the one on the terminal.
alter table sign_ins add column via text not null default 'link';

-- What the browser calls itself; its own words.
alter table sessions add column client text;
create index sessions_reviewer on sessions (reviewer, created_at);
create index sessions_seen on sessions (seen_at);

-- Tokens that people make for themselves. `scopes` is a list in JSON; `assurance` is that of the
-- session that made it.
create table tokens (
    id          text    not null primary key,
    hash        text    not null unique,
    reviewer    text    not null,
    name        text    not null,
    scopes      text    not null,
    assurance   text    not null,
    created_at  bigint  not null,
    expires_at  bigint  not null,
    used_at     bigint
);
create index tokens_reviewer on tokens (reviewer, created_at);
create index tokens_expiry on tokens (expires_at);

-- Who is away from when to when, and who stands in.
create table absences (
    id          text    not null primary key,
    reviewer    text    not null,
    delegate    text    not null,
    from_at     bigint  not null,
    until_at    bigint  not null,
    created_at  bigint  not null
);
create index absences_until on absences (until_at);

-- What a person wants to be told, and when not. `data` is an object in JSON.
create table preferences (
    reviewer  text  not null primary key,
    data      text  not null
);
