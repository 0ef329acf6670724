//! Pages and lists of a broker that was used for years: 10,000 calls wait and 1,000,000 have ended.
//! Only on request (`figures large`), since filling the database takes a minute or two.

use std::time::{Duration, Instant};

use placet::id::token_hash;
use placet::store::{Session, Store as _};
use placet::web::session::SESSION_COOKIE;
use reqwest::RequestBuilder;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::report::{Report, Times};
use crate::world::{ADMIN_TOKEN, Fallible, Place, World, client, has_postgres};

/// How much there is. As many audit records as ended approvals are sealed; every approval has
/// several in truth, which changes nothing for lists that are read by their number.
#[derive(Debug, Clone, Copy)]
struct Size {
    pending: u32,
    ended: u32,
}

/// What the times are compared with.
const YOUNG: Size = Size { pending: 100, ended: 10_000 };
const OLD: Size = Size { pending: 10_000, ended: 1_000_000 };
/// Rows of one statement, so that the broker's own writes get their turn.
const BATCH: u32 = 50_000;
/// Requests of each kind.
const TIMES: usize = 30;
/// Whose calls they are.
const AGENTS: usize = 10;
const COOKIE: &str = "figures-session-of-root";

/// Measures, on SQLite and where a server is named on PostgreSQL.
pub async fn measure(report: &mut Report) -> Fallible<()> {
    both(report, "first byte, 10,000 pending and 1,000,000 ended (SQLite)", Place::Disk).await?;
    if has_postgres() {
        let part = "first byte, 10,000 pending and 1,000,000 ended (PostgreSQL)";
        both(report, part, Place::Postgres).await?;
    }
    Ok(())
}

async fn both(report: &mut Report, part: &'static str, place: Place) -> Fallible<()> {
    let young = times(place, YOUNG).await?;
    let old = times(place, OLD).await?;
    for ((what, old), (_, young)) in old.iter().zip(&young) {
        let to = ("with 100 and 10,000", young.median());
        report.add_ratio(part, &format!("{what} (median)"), old.median(), "ms", to);
        report.add(part, &format!("{what} (p95)"), old.percentile(95), "ms");
    }
    Ok(())
}

async fn times(place: Place, size: Size) -> Fallible<Vec<(String, Times)>> {
    let world = World::start(AGENTS, "group", place).await?;
    let url = world.database();
    let begun = Instant::now();
    fill(&url, size, world.broker.now().micros()).await?;
    eprintln!("{size:?}: filled in {:.0} s", begun.elapsed().as_secs_f64());
    let now = world.broker.now();
    let session = Session {
        hash: token_hash(COOKIE),
        reviewer: "root".to_owned(),
        via: "token".to_owned(),
        client: None,
        created_at: now,
        seen_at: now,
        entry: world.broker.config().entry_of("root").unwrap_or_default(),
    };
    world.store.sessions().insert(&session).await?;
    let client = client()?;
    let page = |path: &str| {
        client
            .get(format!("{}{path}", world.base))
            .header("cookie", format!("{SESSION_COOKIE}={COOKIE}"))
    };
    let list =
        |path: &str| client.get(format!("{}/api/v1{path}", world.base)).bearer_auth(ADMIN_TOKEN);
    let (pending, ended, deep) = (id(size.ended + 1), id(size.ended / 2 + 1), id(1_000));
    let mut found = Vec::new();
    for path in [
        "/",
        "/?agent=agent-3",
        &format!("/approvals/{pending}"),
        &format!("/approvals/{ended}"),
        "/history",
        "/history?state=completed",
        "/history?state=indeterminate",
        "/history?agent=agent-3",
        "/history?agent=nobody",
        "/history?tool=rare_tool",
        "/history?q=rare_tool",
        "/history?q=delete_image_set+undone",
        "/history?q=undone&state=indeterminate",
        "/history?q=undone+agent-3&state=rejected",
        "/history/export?format=csv",
        "/history?tool=delete_image_set&state=cancelled",
        "/history?upstream=images",
        &format!("/history?cursor={deep}"),
        &format!("/history?state=rejected&cursor={deep}"),
        "/tools",
        "/audit",
        "/audit?before=1000",
        "/agents",
        "/grants",
    ] {
        let what = format!("page {}", named(path));
        found.push((what.clone(), asked(&what, &page(path)).await?));
    }
    for path in [
        "/approvals",
        "/approvals?state=pending",
        "/approvals?state=completed",
        "/approvals?state=completed,rejected,expired",
        "/approvals?state=pending,approved",
        "/approvals?agent=agent-3",
        "/approvals?tool=rare_tool",
        "/approvals?q=rare_tool",
        "/approvals?tool=delete_image_set&state=cancelled",
        "/approvals?upstream=images",
        "/approvals?agent=agent-3&state=rejected",
        "/approvals?limit=200",
        &format!("/approvals?cursor={deep}"),
        "/audit",
        "/audit?after=9000",
        "/grants",
        "/tools",
        "/agents",
    ] {
        let what = format!("API {}", named(path));
        found.push((what.clone(), asked(&what, &list(path)).await?));
    }
    let metrics = client.get(format!("{}/metrics", world.base)).bearer_auth(ADMIN_TOKEN);
    found.push(("/metrics".to_owned(), asked("/metrics", &metrics).await?));
    drop(client);
    world.stop().await?;
    Ok(found)
}

/// Without the ids, which say nothing.
fn named(path: &str) -> String {
    let at = path.find("apr_");
    at.map_or_else(|| path.to_owned(), |at| format!("{}…", &path[..at]))
}

async fn asked(what: &str, request: &RequestBuilder) -> Fallible<Times> {
    let mut times = Times::default();
    for n in 0..=TIMES {
        let request = request.try_clone().ok_or("a request without a body can be sent again")?;
        let begun = Instant::now();
        let response = request.send().await?;
        let spent: Duration = begun.elapsed();
        if response.status() != 200 {
            return Err(format!("{what} answered {}", response.status()).into());
        }
        response.bytes().await?;
        // The first one opens the connection.
        if n > 0 {
            times.push(spent);
        }
    }
    Ok(times)
}

/// The id of approval `n`, in the order of `n`.
fn id(n: u32) -> String {
    format!("apr_{n:032x}")
}

async fn fill(url: &str, size: Size, now: i64) -> Fallible<()> {
    let postgres = url.starts_with("postgres");
    let Size { pending, ended: all } = size;
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
                'sha256:' || {hex} || {hex}, {agent}, 'figures/1', '/tools/delete_image_set', 'It cannot be undone.', \
                null, {severity}, '{terms}', 0, '||ana||root|', 0, '{decisions}', {now} - 1000000 * cast({to} - n as bigint), \
                cast({now} as bigint) + 3600000000, {now} - 1000000 * cast({to} - n as bigint), {finished}, 0, null, null \
             from {numbers}",
            severity = pick(&["low", "medium", "high", "critical"]),
            numbers = numbers(from, to),
        )
    };
    let mut statements = Vec::new();
    for from in (1..=all).step_by(usize::try_from(BATCH)?) {
        let finished = format!("{now} - 1000000 * cast({all} - n as bigint)");
        statements.push(rows(from, all.min(from + BATCH - 1), ended, &finished, decided));
    }
    statements.push(rows(all + 1, all + pending, "'pending'", "null", "[]"));
    for word in ["tool", "agent", "upstream", "'undone'"] {
        statements.push(format!(
            "insert into approval_words (word, approval) select {word}, id from approvals"
        ));
    }
    for from in (1_001..=all).step_by(usize::try_from(BATCH)?) {
        statements.push(format!(
            "insert into audit (seq, at, kind, actor, approval, data, prev, hash) \
             select n, {now}, 'approval_requested', 'agent-1', 'apr_' || {hex}, '{{}}', {hex}, {hex} from {}",
            numbers(from, all.min(from + BATCH - 1))
        ));
    }
    if postgres {
        let mut link = PgConnection::connect(url).await?;
        for statement in statements {
            link.execute(AssertSqlSafe(statement)).await?;
        }
        link.execute("analyze").await?;
    } else {
        let mut link = SqliteConnection::connect(url).await?;
        link.execute("pragma busy_timeout = 20000; pragma synchronous = off").await?;
        for statement in statements {
            link.execute(AssertSqlSafe(statement)).await?;
        }
    }
    Ok(())
}
