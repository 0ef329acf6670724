//! What reviewers let through beforehand.

use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::call::ToolCall;
use placet::domain::grant::{Ended, Grant, GrantId, Shape};
use placet::store::Store as _;

use crate::support::approvals::{at, id, old};
use crate::support::db::{Database, on_each};

fn grant(n: u128, tool: &str, uses: u32, expires: u64) -> Grant {
    let params = format!(r#"{{"name":"{tool}","arguments":{{"a":1.00,"b":{{"c":"ü"}}}}}}"#);
    let call = ToolCall::read("images", &params).unwrap();
    Grant {
        id: GrantId::new(uuid::Uuid::from_u128(n)),
        approval: id(1),
        by: "ben".to_owned(),
        agent: "ci".to_owned(),
        upstream: "images".to_owned(),
        tool: tool.to_owned(),
        rule: format!("/tools/{tool}"),
        policy: "p".to_owned(),
        tool_fingerprint: "f".to_owned(),
        shape: Shape::of(&call, &["/b/c".to_owned()]).unwrap(),
        max_uses: uses,
        used: 0,
        created_at: at(u64::try_from(n).unwrap()),
        expires_at: at(expires),
        ended: None,
    }
}

fn event(kind: Kind) -> AuditEvent {
    AuditEvent::new(kind, "ben", at(0))
}

async fn insert(db: &Database, grant: &Grant) -> bool {
    db.store.grants().insert(grant, 2, event(Kind::GrantMade)).await.unwrap()
}

#[tokio::test]
async fn a_grant_comes_back_as_it_was_given() {
    on_each(async |db: &Database| {
        let given = grant(1, "t", 3, 100);
        assert!(insert(db, &given).await);

        assert_eq!(db.store.grants().find(&given.id).await.unwrap(), Some(given.clone()));
        let open = db.store.grants().open("ci", "images", "t", at(99)).await.unwrap();
        assert_eq!(open, std::slice::from_ref(&given));
        for (agent, upstream, tool, now) in [
            ("x", "images", "t", 99),
            ("ci", "x", "t", 99),
            ("ci", "images", "x", 99),
            ("ci", "images", "t", 100),
        ] {
            let none = db.store.grants().open(agent, upstream, tool, at(now)).await.unwrap();
            assert!(none.is_empty(), "{agent} {upstream} {tool} {now}");
        }
        assert_eq!(db.store.grants().list(9).await.unwrap(), [given]);
    })
    .await;
}

#[tokio::test]
async fn uses_are_taken_one_by_one_and_no_more() {
    on_each(async |db: &Database| {
        let given = grant(1, "t", 2, 100);
        insert(db, &given).await;
        let take = async |now| {
            db.store.grants().take(&given.id, at(now), event(Kind::GrantUsed)).await.unwrap()
        };

        assert!(take(1).await);
        assert!(!take(100).await, "its time is over");
        assert!(take(2).await);
        assert!(!take(3).await, "used up");
        assert_eq!(db.store.grants().find(&given.id).await.unwrap().unwrap().used, 2);
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 3, "a record of each use");
    })
    .await;
}

#[tokio::test]
async fn an_ended_grant_lets_nothing_through_and_ends_once() {
    on_each(async |db: &Database| {
        let given = grant(1, "t", 2, 100);
        insert(db, &given).await;
        let end = |by: &str| Ended { at: at(5), by: by.to_owned(), reason: "revoked".to_owned() };

        let ends = db.store.grants();
        assert!(ends.end(&given.id, &end("ana"), event(Kind::GrantEnded)).await.unwrap());
        assert!(!ends.end(&given.id, &end("eve"), event(Kind::GrantEnded)).await.unwrap());
        assert!(!ends.take(&given.id, at(6), event(Kind::GrantUsed)).await.unwrap());

        let stored = ends.find(&given.id).await.unwrap().unwrap();
        assert_eq!(stored.ended, Some(end("ana")));
        assert!(ends.open("ci", "images", "t", at(6)).await.unwrap().is_empty());
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn open_grants_of_an_agent_are_counted_and_old_ones_purged() {
    on_each(async |db: &Database| {
        assert!(insert(db, &grant(1, "a", 1, 100)).await);
        assert!(insert(db, &grant(2, "b", 1, 100)).await);
        assert!(!insert(db, &grant(3, "c", 1, 100)).await, "two are open");
        assert!(insert(db, &Grant { agent: "other".to_owned(), ..grant(4, "c", 1, 200) }).await);
        let taken = grant(1, "a", 1, 100).id;
        db.store.grants().take(&taken, at(5), event(Kind::GrantUsed)).await.unwrap();
        assert!(insert(db, &grant(5, "c", 1, 200)).await, "a used one is not open");

        db.store.purge(at(1000), old(at(100))).await.unwrap();

        let left = db.store.grants().list(9).await.unwrap();
        assert_eq!(left.iter().map(|g| g.tool.as_str()).collect::<Vec<_>>(), ["c", "c"]);
    })
    .await;
}
