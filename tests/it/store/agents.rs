//! What agents' clients were found to do.

use std::time::Duration;

use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::hold_budget::{HoldBudget, LEARNED_FOR, Learned};
use placet::store::{Activity, ClientSession, Store as _};

use crate::support::approvals::{T0, at};
use crate::support::db::{Database, on_each};

async fn dropped(db: &Database, agent: &str, with_progress: bool, seconds: u64, now: u64) -> bool {
    let event = AuditEvent::new(Kind::HoldBudgetLearned, "placet", at(now));
    let after = Duration::from_secs(seconds);
    db.store.agents().hold_dropped(agent, with_progress, after, event).await.unwrap().is_some()
}

#[tokio::test]
async fn drops_in_a_row_teach_a_budget_for_that_agent_and_kind_alone() {
    on_each(async |db: &Database| {
        assert!(!dropped(db, "ci", false, 60, 100).await);
        assert!(!dropped(db, "ci", true, 60, 101).await, "another kind");
        assert!(!dropped(db, "other", false, 60, 102).await, "another agent");
        assert!(!dropped(db, "ci", false, 61, 200).await);
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 0);
        assert!(dropped(db, "ci", false, 60, 300).await);

        let learned = Some(Learned { budget_ms: 48_000, at: at(300) });
        let known = db.store.agents().hold_budget("ci", false).await.unwrap();
        assert_eq!(known, HoldBudget { drops: vec![], learned });
        assert_eq!(known.in_force(at(300).plus(LEARNED_FOR)), None);
        let other = HoldBudget { drops: vec![60_000], learned: None };
        assert_eq!(db.store.agents().hold_budget("ci", true).await.unwrap(), other);
        assert_eq!(db.store.agents().hold_budget("other", false).await.unwrap(), other);
        assert_eq!(
            db.store.agents().hold_budget("nobody", false).await.unwrap(),
            HoldBudget::default()
        );
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 1, "learning leaves a record");
    })
    .await;
}

#[tokio::test]
async fn an_answered_hold_breaks_the_row_and_forgetting_leaves_nothing() {
    on_each(async |db: &Database| {
        for now in [1, 2] {
            dropped(db, "ci", false, 60, now).await;
            dropped(db, "ci", true, 60, now).await;
        }
        db.store.agents().hold_answered("ci", false).await.unwrap();
        db.store.agents().hold_answered("nobody", false).await.unwrap();
        assert!(!dropped(db, "ci", false, 60, 3).await, "the row began anew");
        assert!(dropped(db, "ci", true, 60, 3).await, "the other kind's row went on");
        db.store.agents().hold_answered("ci", true).await.unwrap();
        assert!(db.store.agents().hold_budget("ci", true).await.unwrap().learned.is_some());

        let event = AuditEvent::new(Kind::HoldBudgetForgotten, "dora", at(4));
        assert!(db.store.agents().forget_hold_budget("ci", event.clone()).await.unwrap());
        assert!(!db.store.agents().forget_hold_budget("ci", event).await.unwrap());

        assert_eq!(db.store.agents().hold_budget("ci", true).await.unwrap(), HoldBudget::default());
        assert_eq!(
            db.store.audit().unsealed().await.unwrap(),
            2,
            "learned and forgotten, once each"
        );
    })
    .await;
}

#[tokio::test]
async fn two_brokers_that_note_drops_at_once_lose_none() {
    on_each(async |db: &Database| {
        let (a, b, c) = tokio::join!(
            dropped(db, "ci", false, 60, 1),
            dropped(db, "ci", false, 60, 1),
            dropped(db, "ci", false, 60, 1)
        );

        assert_eq!(usize::from(a) + usize::from(b) + usize::from(c), 1);
    })
    .await;
}

#[tokio::test]
async fn an_agents_activity_is_its_sessions_and_open_approvals() {
    on_each(async |db: &Database| {
        assert_eq!(db.store.agents().activity("ci").await.unwrap(), Activity::default());
        for (id, second, client) in [("a", 10, Some("c/1")), ("b", 20, Some("c/2"))] {
            let session = ClientSession {
                id: id.to_owned(),
                agent: "ci".to_owned(),
                upstream: "images".to_owned(),
                version: "2025-11-25".to_owned(),
                client: client.map(ToOwned::to_owned),
                capabilities: "{}".to_owned(),
                created_at: at(second),
            };
            db.store.client_sessions().insert(&session, 9).await.unwrap().unwrap();
        }

        let activity = db.store.agents().activity("ci").await.unwrap();

        assert_eq!((activity.sessions, activity.pending, activity.approved), (2, 0, 0));
        assert_eq!((activity.client.as_deref(), activity.seen_at), (Some("c/2"), Some(at(20))));
        assert_ne!(activity.seen_at, Some(T0));
    })
    .await;
}
