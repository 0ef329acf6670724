-- Attempts to sign in through the provider that were answered; none is answered twice.
create table oidc_attempts (
    hash        text    not null primary key,
    expires_at  bigint  not null
);
create index oidc_attempts_expiry on oidc_attempts (expires_at);

-- What the provider said of a person when they signed in last. `groups` is a list in JSON: those of
-- the provider's groups that the configuration mentions.
create table oidc_words (
    reviewer    text    not null primary key,
    issuer      text    not null,
    subject     text    not null,
    groups      text    not null,
    said_at     bigint  not null,
    expires_at  bigint  not null
);
create index oidc_words_expiry on oidc_words (expires_at);
