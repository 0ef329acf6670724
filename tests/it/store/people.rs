//! Links, sign-ins, sessions.

use placet::store::{ClientSession, LimitKey, ReviewLink, Session, SignIn, Store};

use crate::support::approvals::{T0, at, id};
use crate::support::db::{Database, on_each};

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

#[tokio::test]
async fn an_agent_has_at_most_so_many_client_sessions() {
    on_each(async |db: &Database| {
        let new = |n: &str, agent: &str, second: u64| ClientSession {
            id: n.to_owned(),
            agent: agent.to_owned(),
            upstream: "images".to_owned(),
            version: "2025-11-25".to_owned(),
            client: Some("c\0/1".to_owned()),
            capabilities: r#"{"roots":{}}"#.to_owned(),
            created_at: at(second),
        };

        assert!(db.store.client_sessions().insert(&new("a", "ci", 0), 2).await.unwrap());
        assert!(db.store.client_sessions().insert(&new("b", "ci", 0), 2).await.unwrap());
        assert!(!db.store.client_sessions().insert(&new("c", "ci", 1), 2).await.unwrap());
        assert!(db.store.client_sessions().insert(&new("d", "other", 1), 2).await.unwrap());
        let found = db.store.client_sessions().find("a", at(1_000)).await.unwrap().unwrap();
        assert_eq!(
            (found.client.as_deref(), found.capabilities.as_str()),
            (Some("c\u{fffd}/1"), r#"{"roots":{}}"#)
        );
        db.store.client_sessions().delete("b").await.unwrap();
        assert!(db.store.client_sessions().insert(&new("e", "ci", 2), 2).await.unwrap());
        assert!(db.store.client_sessions().find("b", at(3)).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_session_in_use_survives_while_idle_ones_make_room() {
    on_each(async |db: &Database| {
        let new = |n: &str, second: u64| ClientSession {
            id: n.to_owned(),
            agent: "ci".to_owned(),
            upstream: "images".to_owned(),
            version: "2025-11-25".to_owned(),
            client: None,
            capabilities: "{}".to_owned(),
            created_at: at(second),
        };
        db.store.client_sessions().insert(&new("used", 0), 2).await.unwrap();
        db.store.client_sessions().insert(&new("idle", 0), 2).await.unwrap();
        db.store.client_sessions().find("used", at(1_700)).await.unwrap();

        let made = db.store.client_sessions().insert(&new("new", 1_900), 2).await.unwrap();

        assert!(made);
        assert!(db.store.client_sessions().find("used", at(1_901)).await.unwrap().is_some());
        assert!(db.store.client_sessions().find("idle", at(1_901)).await.unwrap().is_none());
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
        assert_eq!(db.store.purge(at(899), T0).await.unwrap(), 0);
        assert_eq!(db.store.purge(at(900), T0).await.unwrap(), 1);
        assert_eq!(db.store.purge(at(day), T0).await.unwrap(), 1);
        assert_eq!(db.store.purge(at(40 * day), T0).await.unwrap(), 1);
    })
    .await;
}
