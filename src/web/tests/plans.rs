//! What the databases make of every statement: none reads a large table from end to end.

use super::*;
use crate::auth::Proven;
use crate::auth::personal_token::Scope;
use crate::broker::DecideError;
use crate::broker::people::settings::Own;
use crate::domain::grant::{Ended, Grant, GrantId, Shape};
use crate::domain::preferences::Preferences;
use crate::domain::task::{Follows, Form, Task, TaskId};
use crate::store::passkeys::{Added, Ceremony, Passkey};
use crate::store::sql::recorded;
use crate::store::{
    Attempt, ClientSession, Filter, Lane, LimitKey, NewDelivery, Old, Session, SessionSeen, SignIn,
};

/// What grows with use.
const LARGE: [&str; 14] = [
    "approvals",
    "approval_words",
    "audit",
    "outbox",
    "attempts",
    "review_links",
    "sessions",
    "grants",
    "tasks",
    "holds",
    "tokens",
    "absences",
    "passkeys",
    "ceremonies",
];

/// Statements that read all of a table or index: part of the statement, and why it may.
const MAY_READ_ALL: [(&str, &str); 4] = [
    (
        "union all select '', state, count(*) from approvals group by state",
        "at the start only, to compare the counters: walks over the narrow indexes of states",
    ),
    (
        "delete from holds where node not in",
        "holds are requests that are open now: at most max_held_per_agent for each agent",
    ),
    (
        "from nodes n cross join holds h where h.node = n.id and n.lease_expires_at > $1",
        "/metrics only, and holds are requests that are open now",
    ),
    (
        "from grants order by created_at desc, id desc limit $1",
        "in order of an index, to the limit",
    ),
];

/// Pages and lists, as reviewers and programs ask for them.
async fn look(site: &Site, id: &ApprovalId, link: &str) {
    let filters = [
        "",
        "state=pending",
        "state=completed",
        "state=rejected&tool=delete_image_set",
        "state=expired&upstream=images",
        "state=cancelled&agent=bot",
        "upstream=images",
        "tool=delete_image_set",
        "agent=bot",
        "agent=bot&upstream=images&tool=delete_image_set",
        "q=delete_image_set",
        "q=delete_image_set+images&state=rejected&agent=bot",
    ];
    for reviewer in ["ana", "root"] {
        let cookie = site.cookie(reviewer).await;
        let cookie = [("cookie", cookie.as_str())];
        let mut pages = vec![
            "/".to_owned(),
            "/?upstream=images&tool=delete_image_set&agent=bot".to_owned(),
            format!("/approvals/{id}"),
            "/tools?q=image&agent=bot".to_owned(),
            "/grants".to_owned(),
            "/agents".to_owned(),
            "/upstreams".to_owned(),
            "/audit".to_owned(),
            "/audit?before=2".to_owned(),
        ];
        for filter in filters {
            pages.push(format!("/history?{filter}"));
            pages.push(format!("/history?{filter}&cursor={id}"));
        }
        for path in pages {
            let status = site.get(&path, &cookie).await.status;
            assert!(status == StatusCode::OK || reviewer == "ana", "{path}: {status}");
        }
        let mut lists = vec![
            "/grants".to_owned(),
            "/tools".to_owned(),
            "/agents".to_owned(),
            "/audit".to_owned(),
            "/audit?after=1&limit=2".to_owned(),
            format!("/approvals/{id}"),
            "/approvals?state=completed,rejected,expired".to_owned(),
            "/approvals?state=pending,approved&agent=bot".to_owned(),
        ];
        for filter in filters {
            lists.push(format!("/approvals?{filter}"));
            lists.push(format!("/approvals?{filter}&cursor={id}&limit=200"));
        }
        for path in lists {
            let status = site.api("GET", &path, reviewer, "").await.status;
            assert!(status == StatusCode::OK || reviewer == "ana", "{path}: {status}");
        }
    }
    assert_eq!(site.get(link, &[]).await.status, StatusCode::OK);
    let token = format!("Bearer {}", token_of("root"));
    assert_eq!(site.get("/metrics", &[("authorization", &token)]).await.status, StatusCode::OK);
}

/// What people keep about themselves, made and ended through the broker.
async fn own(site: &Site) {
    let (broker, now) = (&site.web.broker, site.clock.now());
    let (soon, later) = (now.plus(Duration::from_secs(60)), now.plus(Duration::from_secs(120)));
    let reviewer = broker.config().reviewer("ana").unwrap();
    let who = Proven { reviewer, assurance: Assurance::Session };
    let life = Duration::from_hours(24);
    let token = broker.make_token(who, "ci", life, &[Scope::Read]).await.unwrap();
    let auth = format!("Bearer {token}");
    let me = site.send("GET", "/api/v1/me", &[("authorization", &auth)], String::new()).await;
    assert_eq!(me.status, StatusCode::OK);
    broker.enter_absence("ana", "bo", soon, later).await.unwrap();
    passkeys(site).await;
    broker.set_preferences("ana", &Preferences::default()).await.unwrap();
    let cookie = site.cookie("ana").await;
    assert_eq!(site.get("/settings", &[("cookie", &cookie)]).await.status, StatusCode::OK);
    for own in [Own::Session, Own::Token, Own::Absence] {
        assert!(matches!(broker.end_own("ana", own, "none").await, Err(DecideError::NotFound)));
    }
}

/// The life of a passkey in the store; whether it holds is for others to say.
async fn passkeys(site: &Site) {
    let (store, now) = (site.store().passkeys(), site.clock.now());
    let soon = now.plus(Duration::from_secs(60));
    let text = |text: &str| text.to_owned();
    let key = Passkey {
        id: text("id"),
        reviewer: text("ana"),
        name: text("phone"),
        handle: text("h"),
        public_key: text("k"),
        state: text("0"),
        created_at: now,
        used_at: None,
        entry: String::new(),
    };
    let ceremony = Ceremony {
        challenge: text("c"),
        reviewer: text("ana"),
        approval: None,
        digest: text("d"),
        state: text("s"),
        expires_at: soon,
    };
    let event = |kind| AuditEvent::new(kind, "ana", now);
    assert_eq!(store.add(&key, 9, event(Kind::PasskeyAdded)).await.unwrap(), Added::Done);
    store.begin(&ceremony).await.unwrap();
    assert!(store.take("c", "ana", now).await.unwrap().is_some());
    assert!(store.used(&key, "1", event(Kind::PasskeyUsed)).await.unwrap());
    assert!(store.remove("ana", "id", event(Kind::PasskeyRemoved)).await.unwrap());
}

/// One life of everything the store keeps.
async fn live(site: &Site) -> (ApprovalId, String) {
    let (store, now) = (site.store(), site.clock.now());
    let soon = now.plus(Duration::from_secs(60));
    store.nodes().renew("node-1", now, soon).await.unwrap();
    for decision in ["approve", "reject"] {
        let call =
            format!("{{\"name\":\"delete_image_set\",\"arguments\":{{\"d\":\"{decision}\"}}}}");
        let a = site.pending(&call).await;
        assert_eq!(site.say(&a.id, "ana", decision).await.status, StatusCode::OK);
        if decision == "approve" {
            site.run(&a.id, Some(Outcome::Result("{\"content\":[]}".to_owned()))).await;
        }
        store.approvals().find_identical("bot", a.digest(), now, now).await.unwrap();
        store.approvals().take_end(&a.id, a.end_told(now)).await.unwrap();
    }
    let lost = site.pending("{\"name\":\"delete_image_set\",\"arguments\":{\"d\":\"lost\"}}").await;
    site.say(&lost.id, "ana", "approve").await;
    site.run(&lost.id, None).await;
    let a = site.pending(CALL).await;
    let hold = NewHold { id: "h2".to_owned(), node: "node-1".to_owned(), agent: "bot".to_owned() };
    store.holds().attach(&a.id, &hold, 9, now).await.unwrap();
    store.holds().attached(&a.id, now).await.unwrap();
    store.holds().of_node("node-1").await.unwrap();
    store.holds().attach_again(&a.id, &hold, now).await.unwrap();
    store.holds().detach("h2", now).await.unwrap();
    store.changes().number(9).await.unwrap();
    store.changes().after(0, Some("ana"), 9, now).await.unwrap();
    store.channels().disabled().await.unwrap();
    store.limits().take(&LimitKey::Seal("k".to_owned()), 1, now, now).await.unwrap();
    store.limits().give_back(&LimitKey::Seal("k".to_owned())).await.unwrap();
    own(site).await;
    store.due().expiries(now, 9).await.unwrap();
    store.due().orphaned("n", now, 9).await.unwrap();
    store.due().claimed_by("n").await.unwrap();
    store.nodes().latest().await.unwrap();
    let mark = crate::store::Mark {
        id: a.id.clone(),
        version: 1,
        node: "n".to_owned(),
        lease_until: now,
        lease_least: now,
    };
    store.approvals().mark_sent(&mark, now).await.unwrap();
    store.due().unattended(now, 9).await.unwrap();
    let changed = Filter { changed_since: Some(now), limit: 9, ..Filter::default() };
    store.approvals().list(&changed, now).await.unwrap();
    messages(site, &a.id).await;
    people(site).await;
    agents(site).await;
    tasks(site, &a.id).await;
    grants(site, &a.id).await;
    store.audit().seal(100).await.unwrap();
    store.audit().unsealed().await.unwrap();
    store.check().await.unwrap();
    let link = site.link(&a.id, "ana").await;
    (a.id, link)
}

async fn messages(site: &Site, id: &ApprovalId) {
    let (store, now) = (site.store(), site.clock.now());
    let delivery = |name: &str, to: &str| NewDelivery {
        id: name.to_owned(),
        approval: Some(id.clone()),
        notifier: "mail".to_owned(),
        topic: "requested".to_owned(),
        recipient: Some(to.to_owned()),
        payload: None,
        due_at: now,
        give_up_at: now,
    };
    store
        .outbox()
        .enqueue(vec![delivery("dlv_1", "ana"), delivery("dlv_2", "bo")], now)
        .await
        .unwrap();
    store.outbox().take_over(now).await.unwrap();
    store.outbox().due(now).await.unwrap();
    let node = "node-1".to_owned();
    let lane = Lane { notifier: "mail".to_owned(), node, busy: vec!["kim".to_owned()] };
    let claimed = store.outbox().claim(&lane, now, now, 9).await.unwrap();
    assert_eq!(claimed.len(), 2);
    let attempt = Attempt::Delivered { detail: "250".to_owned() };
    store.outbox().record_attempt("dlv_1", &attempt, now).await.unwrap();
    store.outbox().attempts(id).await.unwrap();
    store.outbox().delivered_since("ana", "requested", now).await.unwrap();
    store.outbox().attempt_counts().await.unwrap();
}

async fn people(site: &Site) {
    let (store, now) = (site.store(), site.clock.now());
    let sign_in =
        SignIn { reviewer: "ana".to_owned(), via: "link".to_owned(), entry: String::new() };
    store
        .sessions()
        .insert_sign_in("hash", &sign_in, now.plus(Duration::from_secs(9)), None)
        .await
        .unwrap();
    store.sessions().find_sign_in("hash", now).await.unwrap();
    let session = Session {
        hash: "s".to_owned(),
        reviewer: "ana".to_owned(),
        via: "link".to_owned(),
        client: None,
        created_at: now,
        seen_at: now,
        entry: String::new(),
    };
    assert!(store.sessions().consume_sign_in("hash", &session, now).await.unwrap());
    store.sessions().find("s", Timestamp::from_micros(0), now).await.unwrap();
    store.sessions().delete("s").await.unwrap();
    store.review_links().find("none").await.unwrap();
    store.secret("form", [0; 32]).await.unwrap();
}

async fn agents(site: &Site) {
    let (store, now) = (site.store(), site.clock.now());
    let session = ClientSession {
        id: "c".to_owned(),
        agent: "bot".to_owned(),
        upstream: "images".to_owned(),
        version: "2025-11-25".to_owned(),
        client: None,
        capabilities: "{}".to_owned(),
        created_at: now,
    };
    assert!(store.client_sessions().insert(&session, 9).await.unwrap().is_some());
    let later = ClientSession { id: "d".to_owned(), ..session.clone() };
    assert!(store.client_sessions().insert(&later, 1).await.unwrap().is_some());
    store.client_sessions().find("d").await.unwrap();
    store.client_sessions().living(&["d".to_owned()]).await.unwrap();
    let seen = SessionSeen { id: "d".to_owned(), at: now, instead_of: None };
    store.client_sessions().note(&[seen]).await.unwrap();
    store.agents().activity("bot").await.unwrap();
    store.client_sessions().delete("c").await.unwrap();
    let event = || AuditEvent::new(Kind::ApprovalRequested, "bot", now);
    store.agents().hold_dropped("bot", true, Duration::from_secs(9), event()).await.unwrap();
    store.agents().hold_answered("bot", true).await.unwrap();
    store.agents().hold_budget("bot", true).await.unwrap();
    store.agents().forget_hold_budget("bot", event()).await.unwrap();
    store.audit().append(vec![event()]).await.unwrap();
}

async fn tasks(site: &Site, id: &ApprovalId) {
    let (store, now) = (site.store().tasks(), site.clock.now());
    let task = Task {
        id: TaskId::new(&[1; 32]),
        agent: "bot".to_owned(),
        upstream: "images".to_owned(),
        session: None,
        form: Form::Core,
        tool: "delete_image_set".to_owned(),
        follows: Follows::Approval(id.clone()),
        created_at: now,
        changed_at: now,
        waits_until: now,
        expires_at: now.plus(Duration::from_secs(9)),
        cancelled_at: None,
    };
    assert!(store.insert(&task, 9).await.unwrap());
    store.find(&task.id, "bot", "images", now).await.unwrap();
    store.look(&task.id, now, now).await.unwrap();
    let before = Some((now, task.id.to_string()));
    store.list("bot", "images", Form::Core, before, 9, now).await.unwrap();
    store.list("bot", "", Form::Core, None, 9, now).await.unwrap();
    store.others(&task.id, id, now).await.unwrap();
    store.following(id).await.unwrap();
    store.answer(&task.id, &Outcome::Result("{}".to_owned()), now).await.unwrap();
    site.store().nodes().is_alive("node-1", now).await.unwrap();
    store.attended(now, 9).await.unwrap();
    store.unanswered("node-1", now).await.unwrap();
    store.run_of(id).await.unwrap();
    store.stop_run(id, now).await.unwrap();
    store.ask(id, None, now).await.unwrap();
    store.reply(id, "{}", now).await.unwrap();
    store.take_replies(id, now).await.unwrap();
    store.end(&task.id, now).await.unwrap();
}

async fn grants(site: &Site, id: &ApprovalId) {
    let (store, now) = (site.store().grants(), site.clock.now());
    let event = || AuditEvent::new(Kind::ApprovalRequested, "ana", now);
    let grant = Grant {
        id: GrantId::new(site.ids.uuid(now)),
        approval: id.clone(),
        by: "ana".to_owned(),
        agent: "bot".to_owned(),
        upstream: "images".to_owned(),
        tool: "delete_image_set".to_owned(),
        rule: "/tools".to_owned(),
        policy: "p".to_owned(),
        tool_fingerprint: "t".to_owned(),
        shape: Shape { rest: "r".to_owned(), pinned: Vec::new(), free: Vec::new() },
        max_uses: 2,
        used: 0,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(9)),
        ended: None,
    };
    assert!(store.insert(&grant, 9, event()).await.unwrap());
    store.find(&grant.id).await.unwrap();
    store.open("bot", "images", "delete_image_set", now).await.unwrap();
    store.list(9).await.unwrap();
    store.take(&grant.id, now, event()).await.unwrap();
    let end = Ended { at: now, by: "ana".to_owned(), reason: "done".to_owned() };
    store.end(&grant.id, &end, event()).await.unwrap();
}

/// The names a statement calls a large table by.
fn names(sql: &str) -> Vec<&str> {
    let words: Vec<&str> =
        sql.split([' ', '\n', '(', ')', ',']).filter(|w| !w.is_empty()).collect();
    let mut names = Vec::new();
    for pair in words.windows(2) {
        if LARGE.contains(&pair[0]) {
            names.push(pair[0]);
            if pair[1].len() == 1 {
                names.push(pair[1]);
            }
        }
    }
    names.extend(words.last().filter(|w| LARGE.contains(w)));
    names
}

/// Whether this step reads all of a large table, or all of an index but to a limit in its order.
fn reads_all(sql: &str, steps: &[String], step: &str) -> bool {
    let sorted = steps.iter().any(|s| s.contains("USE TEMP B-TREE FOR ORDER BY"));
    let in_order = step.contains("USING") && sql.contains("limit") && !sorted;
    names(sql).iter().any(|name| {
        let scanned = step == format!("SCAN {name}") || step.starts_with(&format!("SCAN {name} "));
        (scanned && !in_order) || step.contains(&format!("Seq Scan on {name}"))
    })
}

fn full_scans(plans: &[recorded::Plan]) -> Vec<String> {
    let mut wrong = Vec::new();
    for plan in
        plans.iter().filter(|p| !p.sql.starts_with("insert") && !p.sql.starts_with("explain"))
    {
        for step in &plan.steps {
            let excused = MAY_READ_ALL.iter().any(|(part, _)| plan.sql.contains(part));
            if reads_all(&plan.sql, &plan.steps, step) && !excused {
                wrong.push(format!("{step}\n    {}\n    {}", plan.sql, plan.steps.join("\n    ")));
            }
        }
    }
    wrong
}

fn all_is_old(site: &Site) -> Old {
    let now = site.clock.now();
    Old { history_before: now, idle_before: now }
}

#[tokio::test]
async fn no_statement_reads_a_large_table_from_end_to_end() {
    let site = Site::new().await;
    let (id, link) = live(&site).await;
    look(&site, &id, &link).await;
    let day = Duration::from_hours(24);
    site.clock.advance(day);
    site.store().purge(site.clock.now(), all_is_old(&site)).await.unwrap();
    site.store().nodes().end("node-1", site.clock.now()).await.unwrap();

    let plans = recorded::plans(&format!("sqlite:{}", site.file.display())).await.unwrap();

    assert!(plans.len() > 120, "{} statements", plans.len());
    let wrong = full_scans(&plans);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for (part, _) in MAY_READ_ALL {
        assert!(plans.iter().any(|p| p.sql.contains(part)), "nothing is like {part:?} any more");
    }
}

#[tokio::test]
async fn neither_does_postgres() {
    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
    let Ok(server) = std::env::var("PLACET_TEST_POSTGRES") else { return };
    let site = Site::new().await;
    let (id, link) = live(&site).await;
    look(&site, &id, &link).await;
    site.store().purge(site.clock.now(), all_is_old(&site)).await.unwrap();
    let name = format!("placet_plans_{}", std::process::id());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let gone = format!("drop database if exists {name} with (force)");
    admin.execute(AssertSqlSafe(gone)).await.unwrap();
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    SqlStore::open(url.as_str()).await.unwrap().close().await;

    let plans = recorded::plans(url.as_str()).await.unwrap();

    let drop = format!("drop database {name} with (force)");
    admin.execute(AssertSqlSafe(drop)).await.unwrap();
    let wrong = full_scans(&plans);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_full_scan_is_known_by_its_step() {
    let sql = "select a.id from approvals a where a.tool = $1 order by a.id limit $2";
    let one = |step: &str| reads_all(sql, &[step.to_owned()], step);

    assert!(one("SCAN a") && one("Seq Scan on approvals a  (cost=0.00..1.00)"));
    assert!(!one("SEARCH a USING INDEX approvals_of_tool (tool=?)"));
    assert!(!one("SCAN a USING INDEX sqlite_autoindex_approvals_1"));
    assert!(reads_all("select count(*) from holds", &[], "SCAN holds"));
}
