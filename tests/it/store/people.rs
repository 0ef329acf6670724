//! Links, sign-ins, sessions.

use std::time::Duration;

use placet::domain::time::Timestamp;
use placet::store::{
    ClientSession, LimitKey, Old, ReviewLink, Session, SessionSeen, SignIn, Store,
};

use crate::support::approvals::{T0, at, id, old};
use crate::support::db::{Database, on_each};

const SECOND: Duration = Duration::from_secs(1);

fn session(hash: &str, reviewer: &str) -> Session {
    Session {
        hash: hash.to_owned(),
        reviewer: reviewer.to_owned(),
        via: "link".to_owned(),
        client: None,
        created_at: T0,
        seen_at: T0,
        entry: "e".to_owned(),
    }
}

fn sign_in(reviewer: &str) -> SignIn {
    SignIn { reviewer: reviewer.to_owned(), via: "link".to_owned(), entry: "e".to_owned() }
}

#[tokio::test]
async fn review_links_are_found_by_hash() {
    on_each(async |db: &Database| {
        let link = ReviewLink {
            hash: "h".to_owned(),
            approval: id(1),
            reviewer: "ben".to_owned(),
            created_at: T0,
            entry: "e".to_owned(),
        };
        db.store.review_links().insert(&link).await.unwrap();

        assert_eq!(db.store.review_links().find("h").await.unwrap(), Some(link));
        assert_eq!(db.store.review_links().find("H").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_sign_in_link_is_for_one_reviewer_and_a_quarter_of_an_hour() {
    on_each(async |db: &Database| {
        db.store.sessions().insert_sign_in("h", &sign_in("ben"), at(900), None).await.unwrap();

        assert_eq!(
            db.store.sessions().find_sign_in("h", at(899)).await.unwrap(),
            Some(sign_in("ben"))
        );
        assert_eq!(db.store.sessions().find_sign_in("h", at(900)).await.unwrap(), None);
        assert!(
            !db.store.sessions().consume_sign_in("h", &session("s", "dora"), at(1)).await.unwrap()
        );
        assert!(
            !db.store.sessions().consume_sign_in("h", &session("s", "ben"), at(900)).await.unwrap()
        );
        assert!(
            db.store.sessions().consume_sign_in("h", &session("s", "ben"), at(1)).await.unwrap()
        );
        assert_eq!(db.store.sessions().find_sign_in("h", at(2)).await.unwrap(), None);
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 1, "signing in leaves a record");
    })
    .await;
}

#[tokio::test]
async fn sessions_live_while_they_are_used() {
    on_each(async |db: &Database| {
        db.store.sessions().insert(&session("s", "ben")).await.unwrap();
        let seen = async |since: u64, now: u64| {
            db.store.sessions().find("s", at(since), at(now)).await.unwrap().is_some()
        };

        assert!(!seen(0, 100).await, "idle since before");
        assert!(
            db.store
                .sessions()
                .find("s", T0.minus(std::time::Duration::from_secs(1)), at(100))
                .await
                .unwrap()
                .is_some()
        );
        assert!(seen(99, 150).await, "its last use counts");
        db.store.sessions().delete("s").await.unwrap();
        assert!(!seen(0, 151).await);
    })
    .await;
}

fn client_session(id: &str, agent: &str, created_at: Timestamp) -> ClientSession {
    ClientSession {
        id: id.to_owned(),
        agent: agent.to_owned(),
        upstream: "images".to_owned(),
        version: "2025-11-25".to_owned(),
        client: Some("c\0/1".to_owned()),
        capabilities: r#"{"roots":{}}"#.to_owned(),
        created_at,
    }
}

/// Opens a session where its agent may have two, and says which made room.
async fn open(db: &Database, id: &str, agent: &str, second: u64) -> Option<Vec<String>> {
    let session = client_session(id, agent, at(second));
    let made = db.store.client_sessions().insert(&session, 2).await.unwrap();
    made.map(|displaced| displaced.into_iter().map(|s| s.id).collect())
}

fn seen(id: &str, at: Timestamp, instead_of: Option<Timestamp>) -> SessionSeen {
    SessionSeen { id: id.to_owned(), at, instead_of }
}

#[tokio::test]
async fn of_so_many_client_sessions_the_one_least_recently_used_makes_room() {
    on_each(async |db: &Database| {
        let none = Some(Vec::new());
        let sessions = db.store.client_sessions();
        assert_eq!(open(db, "a", "ci", 0).await, none);
        assert_eq!(open(db, "b", "ci", 1).await, none);
        assert_eq!(open(db, "d", "other", 1).await, none);
        let found = sessions.find("a").await.unwrap().unwrap();
        assert_eq!(
            (found.client.as_deref(), found.capabilities.as_str()),
            (Some("c\u{fffd}/1"), r#"{"roots":{}}"#)
        );
        sessions.note(&[seen("a", at(2), None), seen("b", at(1), None)]).await.unwrap();

        assert_eq!(open(db, "c", "ci", 3).await, Some(vec!["b".to_owned()]));

        let asked = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(sessions.living(&asked).await.unwrap(), ["a", "c", "d"]);
        sessions.delete("a").await.unwrap();
        assert_eq!(open(db, "e", "ci", 4).await, none);
        assert!(sessions.find("a").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_client_session_in_use_makes_no_room_until_it_is_over_or_was_not_renewed() {
    on_each(async |db: &Database| {
        let sessions = db.store.client_sessions();
        open(db, "a", "ci", 0).await;
        open(db, "b", "ci", 1).await;
        sessions.note(&[seen("a", at(20), None), seen("b", at(15), None)]).await.unwrap();

        assert_eq!(open(db, "c", "ci", 10).await, None);
        // What another broker says of a short use, or of its own earlier note, changes nothing.
        sessions.note(&[seen("a", at(11), None), seen("a", at(9), Some(at(8)))]).await.unwrap();
        assert_eq!(open(db, "c", "ci", 12).await, None);
        sessions.note(&[seen("b", at(12), Some(at(15)))]).await.unwrap();
        assert_eq!(open(db, "c", "ci", 13).await, Some(vec!["b".to_owned()]));
        assert_eq!(open(db, "d", "ci", 14).await, Some(vec!["c".to_owned()]));
        assert_eq!(open(db, "e", "ci", 21).await, Some(vec!["d".to_owned()]));
        sessions.note(&[seen("e", at(30), None)]).await.unwrap();
        assert_eq!(open(db, "f", "ci", 22).await, Some(vec!["a".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn purging_takes_what_is_used_up() {
    on_each(async |db: &Database| {
        db.store.sessions().insert_sign_in("h", &sign_in("ben"), at(900), None).await.unwrap();
        db.store.sessions().insert(&session("s", "ben")).await.unwrap();
        db.store.limits().take(&LimitKey::Seal("k".to_owned()), 1, T0, at(1)).await.unwrap();

        let day = 24 * 3_600;
        assert_eq!(db.store.purge(at(899), old(T0)).await.unwrap(), 0);
        assert_eq!(db.store.purge(at(900), old(T0)).await.unwrap(), 1);
        assert_eq!(db.store.purge(at(40 * day), old(T0)).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_session_is_purged_once_it_counts_no_more_and_not_before() {
    on_each(async |db: &Database| {
        db.store.sessions().insert(&session("s", "ben")).await.unwrap();
        let idle_since = |idle_before| Old { history_before: T0, idle_before };

        // Long after a day, where sessions may be idle for longer.
        let later = at(3 * 86_400);
        assert_eq!(db.store.purge(later, idle_since(T0.minus(SECOND))).await.unwrap(), 0);
        assert!(db.store.sessions().find("s", T0.minus(SECOND), later).await.unwrap().is_some());
        assert_eq!(db.store.purge(later.plus(SECOND), idle_since(later)).await.unwrap(), 1);
    })
    .await;
}
