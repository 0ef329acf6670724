//! The file, the schema, the plans.

use std::os::unix::fs::PermissionsExt as _;

use placet::store::Store;
use placet::store::sql::SqlStore;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use crate::support::db::{Database, Dir, on_each, sqlite};

#[tokio::test]
async fn the_file_and_its_companions_are_private() {
    let (dir, db) = sqlite().await;
    db.store.secret("x", [1; 32]).await.unwrap();

    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir.0).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        names.push(entry.file_name());
    }
    assert!(names.len() >= 2, "the write-ahead log is there: {names:?}");
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    on_each(async |db: &Database| {
        let secret = db.store.secret("x", [1; 32]).await.unwrap();

        let again = db.again().await;

        assert_eq!(again.secret("x", [2; 32]).await.unwrap(), secret);
        again.check().await.unwrap();
        again.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_open_a_new_database_at_once() {
    for _ in 0..5 {
        let dir = Dir::new();
        let url = format!("sqlite:{}", dir.0.join("placet.db").display());

        let opened = futures_util::future::join_all((0..4).map(|_| {
            tokio::spawn({
                let url = url.clone();
                async move { SqlStore::open(&url).await }
            })
        }))
        .await;

        for store in opened {
            store.unwrap().unwrap().check().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_url_that_is_no_file_is_refused_with_what_to_write_instead() {
    for url in ["sqlite::memory:", "sqlite:", "sqlite:x.db?mode=ro"] {
        let error = SqlStore::open(url).await.unwrap_err().to_string();
        assert!(error.contains("sqlite:placet.db"), "{error}");
    }
    let error = SqlStore::open("sqlite:/nowhere/at/all.db").await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all.db"), "{error}");
}

/// Where a query plan scans a whole table, a long history makes every call slow.
#[tokio::test]
async fn frequent_queries_use_an_index() {
    let (_dir, db) = sqlite().await;
    let mut link = SqliteConnection::connect(&db.url).await.unwrap();
    let open = "(a.state in ('pending', 'approved', 'running') \
                or (a.state = 'indeterminate' and a.settled is null))";
    for query in [
        "select * from approvals a where a.id = $1".to_owned(),
        format!("select * from approvals a where a.agent = $1 and a.digest = $2 and {open}"),
        "select * from approvals a where a.agent = $1 and a.digest = $2 \
          and a.finished_at is not null order by a.finished_at desc, a.id desc limit 1"
            .to_owned(),
        "select max(finished_at) from approvals where agent = $1 and digest = $2 \
          and state = 'completed' and finished_at > $3"
            .to_owned(),
        "select count(*) from approvals where state in ('pending', 'approved')".to_owned(),
        "select count(*) from approvals where state in ('pending', 'approved') and agent = $1"
            .to_owned(),
        "select count(*), min(created_at) from approvals where agent = $1 and created_at > $2"
            .to_owned(),
        "select id from approvals where state = 'pending' and expires_at <= $1".to_owned(),
        "select id from approvals where state = 'approved' and claim_deadline <= $1".to_owned(),
        "select a.id from approvals a where a.state = 'running' and not exists \
         (select 1 from nodes n where n.id = a.executor and n.lease_expires_at > $1)"
            .to_owned(),
        "select * from approvals a where a.state in ('pending') order by a.id desc limit 50"
            .to_owned(),
        "select * from approvals a where a.changed_at >= $1 order by a.changed_at, a.id limit 50"
            .to_owned(),
        "select id from outbox where state = 'due' and due_at <= $1 order by due_at limit 10"
            .to_owned(),
        "select count(*) from outbox where state = 'delivered' and recipient = $1 \
          and topic = $2 and finished_at > $3"
            .to_owned(),
        "select id from audit where seq is null order by id limit 100".to_owned(),
        "select seq, hash from audit where seq is not null order by seq desc limit 1".to_owned(),
        "select * from audit where seq > $1 order by seq limit 100".to_owned(),
        "select count(*) from holds h join nodes n on n.id = h.node where h.approval = $1 \
          and n.lease_expires_at > $2"
            .to_owned(),
        "select count(*), min(at) from rate_uses where key = $1".to_owned(),
        "select * from client_sessions where agent = $1".to_owned(),
    ] {
        let plan = sqlx::query(AssertSqlSafe(format!("explain query plan {query}")))
            .fetch_all(&mut link)
            .await
            .unwrap();
        for step in plan {
            let step: String = step.get("detail");
            assert!(!step.starts_with("SCAN ") || step.contains("USING"), "{query}\n  {step}");
        }
    }
}
