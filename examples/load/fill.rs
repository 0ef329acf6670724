//! A database as years of use leave it: rows written past the store, while no broker runs on it.

use std::path::Path;

use placet::config::{Config, Environment};
use placet::domain::time::Timestamp;
use placet::id::token_hash;
use placet::store::sql::SqlStore;
use placet::store::{Session, Store as _};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::world::Fallible;

/// How much is added. As many audit records as ended approvals are sealed; every approval has
/// several in truth, which changes nothing for lists that are read by their number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Approvals that wait.
    pub pending: u32,
    /// Approvals that have ended.
    pub ended: u32,
}

/// Rows of one statement.
const BATCH: u32 = 50_000;
/// Whose calls they are.
const AGENTS: usize = 10;
/// The cookie of the reviewer's session.
pub const COOKIE: &str = "load-session-of-ana";

/// The number of the first one that waits; those that have ended come before it.
const FIRST_PENDING: u32 = 50_000_000;
/// Every id that was made here is smaller, every other one is larger.
const NOT_FILLED: &str = "apr_00000001";

/// The id of approval `n`, in the order of `n`.
pub fn id(n: u32) -> String {
    format!("apr_{n:032x}")
}

/// The id of one that waits.
pub fn pending_id(n: u32) -> String {
    id(FIRST_PENDING + n)
}

/// Adds what is missing until there is so much, and signs the reviewer in; for the broker with this
/// configuration, which does not run.
pub async fn fill(file: &Path, size: Size) -> Fallible<()> {
    let loaded = Config::load(Some(file), &Environment::new());
    let (config, _) = loaded.map_err(|problems| format!("{problems:?}"))?;
    let url = config.database.url.expose();
    let now = Timestamp::from_micros(i64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros(),
    )?);
    let have = if url.starts_with("postgres") {
        let mut link = PgConnection::connect(url).await?;
        let have = have_postgres(&mut link).await?;
        for statement in statements(true, have, size, now.micros())? {
            link.execute(AssertSqlSafe(statement)).await?;
        }
        link.execute("analyze").await?;
        have
    } else {
        let mut link = SqliteConnection::connect(url).await?;
        link.execute("pragma busy_timeout = 20000; pragma synchronous = off").await?;
        let have = have_sqlite(&mut link).await?;
        for statement in statements(false, have, size, now.micros())? {
            link.execute(AssertSqlSafe(statement)).await?;
        }
        link.close().await?;
        have
    };
    if have.0 != Size::default() {
        return Ok(());
    }
    let session = Session {
        hash: token_hash(COOKIE),
        reviewer: "ana".to_owned(),
        via: "token".to_owned(),
        client: None,
        created_at: now,
        seen_at: now,
        entry: config.entry_of("ana").unwrap_or_default(),
    };
    let store = SqlStore::open(url).await?;
    store.sessions().insert(&session).await?;
    store.close().await;
    Ok(())
}

/// What was added before, and how far the audit has come.
type Have = (Size, u32);

fn count_sql() -> String {
    let middle = id(FIRST_PENDING);
    format!(
        "select (select count(*) from approvals where id < '{middle}'), \
         (select count(*) from approvals where id >= '{middle}' and id < '{NOT_FILLED}'), \
         (select coalesce(max(seq), 0) from audit)"
    )
}

fn have((ended, pending, sealed): (i64, i64, i64)) -> Fallible<Have> {
    let size = Size { pending: pending.try_into()?, ended: ended.try_into()? };
    Ok((size, u32::try_from(sealed)?.max(1_000)))
}

async fn have_postgres(link: &mut PgConnection) -> Fallible<Have> {
    have(sqlx::query_as(AssertSqlSafe(count_sql())).fetch_one(link).await?)
}

async fn have_sqlite(link: &mut SqliteConnection) -> Fallible<Have> {
    have(sqlx::query_as(AssertSqlSafe(count_sql())).fetch_one(link).await?)
}

fn statements(postgres: bool, (have, sealed): Have, size: Size, now: i64) -> Fallible<Vec<String>> {
    let all = size.ended;
    let hex = if postgres { "lpad(to_hex(n), 32, '0')" } else { "printf('%032x', n)" };
    let numbers = |from: u32, to: u32| {
        if postgres {
            format!("generate_series({from}, {to}) as s(n)")
        } else {
            format!(
                "(with recursive s(n) as (select {from} union all select n + 1 from s \
                  where n < {to}) select n from s)"
            )
        }
    };
    let pick = |words: &[&str]| {
        let whens: Vec<String> =
            words.iter().enumerate().map(|(i, w)| format!("when {i} then '{w}'")).collect();
        format!("case n % {} {} end", words.len(), whens.join(" "))
    };
    // Of 100: 60 completed, 25 rejected, 12 expired, 3 cancelled.
    let ended = "case when n % 100 < 60 then 'completed' when n % 100 < 85 then 'rejected' \
                 when n % 100 < 97 then 'expired' else 'cancelled' end";
    let agents: Vec<String> = (0..AGENTS).map(|n| format!("agent-{n}")).collect();
    let agent = pick(&agents.iter().map(String::as_str).collect::<Vec<_>>());
    let terms = r#"{"reviewers":["ana","root"],"quorum":1,"claim_window_s":600,"cooldown_s":600,"notify":[],"unattended":"wait","assurance":"link","sensitive":false,"redact":[],"owner":null,"tool_fingerprint":null}"#;
    let decided = r#"[{"reviewer":"ana","decision":"approve","reason":"fine","via":"web","assurance":"session","at":"2026-11-22T13:35:00Z"}]"#;
    let rows = |from: u32, to: u32, state: &str, finished: &str, decisions: &str| {
        format!(
            "insert into approvals (id, version, state, upstream, method, tool, params, digest, agent, client, \
                rule, reason, risk, severity, terms, sensitive, audience, unattended, decisions, created_at, \
                expires_at, changed_at, finished_at, owed, outcome_kind, outcome) \
             select 'apr_' || {hex}, 1, {state}, 'images', 'tools/call', \
                case when n % 100000 = 7 then 'rare_tool' else 'delete_image_set' end, \
                '{{\"name\":\"delete_image_set\",\"arguments\":{{\"datastore_id\":\"hospital-main\",\"image_set_id\":\"' || n || '\",\"why\":\"Superseded by a newer scan of the same patient; kept in the cold archive.\"}}}}', \
                'sha256:' || {hex} || {hex}, {agent}, 'load/1', '/tools/delete_image_set', 'It cannot be undone.', \
                null, {severity}, '{terms}', 0, '||ana||root|', 0, '{decisions}', {now} - 1000000 * cast({to} - n as bigint), \
                cast({now} as bigint) + 3600000000, {now} - 1000000 * cast({to} - n as bigint), {finished}, 0, null, null \
             from {numbers}",
            severity = pick(&["low", "medium", "high", "critical"]),
            numbers = numbers(from, to),
        )
    };
    let mut statements = Vec::new();
    for from in (have.ended + 1..=all).step_by(usize::try_from(BATCH)?) {
        let finished = format!("{now} - 1000000 * cast({all} - n as bigint)");
        statements.push(rows(from, all.min(from + BATCH - 1), ended, &finished, decided));
    }
    let (first, last) = (FIRST_PENDING + have.pending, FIRST_PENDING + size.pending);
    for from in (first..last).step_by(usize::try_from(BATCH)?) {
        statements.push(rows(from, last.min(from + BATCH) - 1, "'pending'", "null", "[]"));
    }
    for word in ["tool", "agent", "upstream", "'undone'"] {
        statements.push(format!(
            "insert into approval_words (word, approval) select {word}, id from approvals \
             where id < '{NOT_FILLED}' on conflict do nothing"
        ));
    }
    for from in (sealed + 1..=all).step_by(usize::try_from(BATCH)?) {
        statements.push(format!(
            "insert into audit (seq, at, kind, actor, approval, data, prev, hash) \
             select n, {now}, 'approval_requested', 'agent-1', 'apr_' || {hex}, '{{}}', {hex}, {hex} from {}",
            numbers(from, all.min(from + BATCH - 1))
        ));
    }
    Ok(statements)
}
