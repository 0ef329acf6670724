-- Passkeys with which reviewers confirm single decisions. `id` is the credential's, `handle` the
-- one that all of a person's credentials have, `public_key` and `state` as the verifier encodes
-- them; all in base64 (URL alphabet, no padding).
create table passkeys (
    id          text    not null primary key,
    reviewer    text    not null,
    name        text    not null,
    handle      text    not null,
    public_key  text    not null,
    state       text    not null,
    created_at  bigint  not null,
    used_at     bigint
);
create index passkeys_reviewer on passkeys (reviewer, created_at);

-- Ceremonies that have begun: one for each person and purpose, used once. `approval` and `digest`
-- are empty where a passkey is added.
create table ceremonies (
    challenge   text    not null primary key,
    reviewer    text    not null,
    approval    text    not null,
    digest      text    not null,
    state       text    not null,
    expires_at  bigint  not null,
    unique (reviewer, approval)
);
create index ceremonies_expiry on ceremonies (expires_at);
