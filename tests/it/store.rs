//! What every store promises, on every database there is.

mod agents;
mod approvals;
mod audit;
mod bad_days;
mod changes;
mod counters;
mod credentials;
mod damaged;
mod driver;
mod grants;
mod limits;
mod oidc;
mod outbox;
mod passkeys;
mod people;
mod races;
mod recorded_calls;
mod retention;
mod settings;
mod sqlite_file;
mod submitting;
mod tasks;
