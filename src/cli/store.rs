//! Commands on the database itself: `migrate`, `audit verify`, `audit export`, `sign-in-link`.

use crate::app;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::approval::Assurance;
use crate::domain::audit::{Chain, Record};
use crate::domain::duration::parse_duration;
use crate::domain::json;
use crate::domain::time::Timestamp;
use crate::store::Store as _;
use crate::store::sql::SqlStore;

use super::{AuditCommand, Failure, Global, LinkAssurance, SignInLinkArgs, load, say};

/// Records read at once.
const PAGE: u32 = 1_000;

pub(super) async fn open(config: &Config) -> Result<SqlStore, Failure> {
    SqlStore::open_with(config.database.url.expose(), &(&config.database).into())
        .await
        .map_err(|error| Failure::failed(format!("database.url: {error}")))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}

/// `placet migrate`: opening the database applies its migrations.
///
/// # Errors
/// The configuration has errors (exit code 2), or the database can't be opened or migrated (exit
/// code 1).
pub(crate) async fn migrate(global: &Global) -> Result<(), Failure> {
    let store = open(&load(global)?).await?;
    store.close().await;
    say(if global.json { "{\"ok\":true}" } else { "ok: the schema is up to date" });
    Ok(())
}

/// `placet audit …`: verifies the hash chain, or exports the records as JSON lines.
///
/// # Errors
/// The configuration or `--since` is wrong (exit code 2), the database can't be read, or a record
/// does not fit the hash chain (exit code 1).
pub(crate) async fn audit(global: &Global, command: AuditCommand) -> Result<(), Failure> {
    let config = load(global)?;
    let store = open(&config).await?;
    let done = match command {
        AuditCommand::Verify => verify(global, &store).await,
        AuditCommand::Export { since } => export(&store, since.as_deref()).await,
    };
    store.close().await;
    done
}

async fn verify(global: &Global, store: &SqlStore) -> Result<(), Failure> {
    while store.audit().seal(PAGE).await.map_err(failed)? > 0 {}
    let mut chain = Chain::new();
    let (mut after, mut records) = (0, 0_u64);
    let mut head = crate::domain::audit::GENESIS.to_owned();
    loop {
        let page = store.audit().list(after, PAGE).await.map_err(failed)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for record in &page {
            if let Err(broken) = chain.check(record) {
                let (seq, what) = (broken.seq, &broken.what);
                if global.json {
                    let what = json::quote(what);
                    say(&format!("{{\"ok\":false,\"seq\":{seq},\"problem\":{what}}}"));
                }
                return Err(Failure::failed(format!("record {seq} is bad: {what}")));
            }
            records += 1;
            head.clone_from(&record.hash);
        }
    }
    say(&if global.json {
        format!("{{\"ok\":true,\"records\":{records},\"head\":\"{head}\"}}")
    } else {
        format!("ok: {records} records, head {head}")
    });
    Ok(())
}

/// What `--since` says: an instant, or how long ago.
///
/// # Errors
/// It is neither: exit code 2.
pub(super) fn since(text: &str) -> Result<Timestamp, Failure> {
    match (Timestamp::parse(text), parse_duration(text)) {
        (Some(at), _) => Ok(at),
        (None, Ok(length)) => Ok(SystemClock.now().minus(length)),
        (None, Err(why)) => Err(Failure::misused(format!(
            "--since {text}: {}; or an instant like 2026-11-22T20:00:00Z",
            why.about(text)
        ))),
    }
}

async fn export(store: &SqlStore, since: Option<&str>) -> Result<(), Failure> {
    let since = since.map_or(Ok(Timestamp::from_micros(i64::MIN)), self::since)?;
    let mut after = 0;
    loop {
        let page = store.audit().list(after, PAGE).await.map_err(failed)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.seq;
        for record in page.iter().filter(|r| r.at >= since) {
            say(&Record::to_json(record));
        }
    }
}

/// `placet sign-in-link`: prints a link that signs a reviewer in once.
///
/// # Errors
/// The configuration has errors or several reviewers are possible (exit code 2); the broker does
/// not listen on loopback, links are switched off, there is no such reviewer, or the store failed (exit code 1).
pub(crate) async fn sign_in_link(global: &Global, args: SignInLinkArgs) -> Result<(), Failure> {
    let config = load(global)?;
    if !config.server.listen.ip().is_loopback() {
        return Err(Failure::failed(
            "server.listen is not a loopback address: reviewers sign in by mail or token",
        ));
    }
    if !config.people.sign_in_link {
        return Err(Failure::failed(
            "people.sign_in_link is false: reviewers sign in by mail or token",
        ));
    }
    let reviewer = match (&args.name, config.reviewers.as_slice()) {
        (Some(name), _) => config
            .reviewer(name)
            .ok_or_else(|| Failure::failed(format!("there is no reviewer {name:?}")))?,
        (None, [only]) => only,
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|r| r.name.as_str()).collect();
            return Err(Failure::misused(format!(
                "name one of the reviewers: {}",
                names.join(", ")
            )));
        }
    };
    let store = open(&config).await?;
    let assurance = match args.assurance {
        LinkAssurance::Link => Assurance::Link,
        LinkAssurance::Session => Assurance::Session,
    };
    let link = app::sign_in_link(&config, &store, &reviewer.name, assurance).await;
    let link = link.map_err(failed)?;
    store.close().await;
    say(&if global.json { format!("{{\"link\":{}}}", json::quote(&link)) } else { link });
    Ok(())
}
