//! How many there may be, and how fast they may come.

use std::time::Duration;

use placet::store::{Cap, Filter, LimitKey, Store, Submitted};

use super::approvals::made;
use crate::support::approvals::{T0, approval, at, id, submission};
use crate::support::db::{Database, on_each};

#[tokio::test]
async fn caps_refuse_by_name_and_say_when_to_come_again() {
    on_each(async |db: &Database| {
        made(db, 1, r#"{"a":1}"#).await;
        let refused = async |change: &dyn Fn(&mut placet::store::Submit)| {
            let mut submit = submission(approval(2, r#"{"a":2}"#));
            change(&mut submit);
            match db.store.approvals().submit(submit, at(1)).await.unwrap() {
                Submitted::Refused { cap, retry_after_ms } => (cap, retry_after_ms),
                other => panic!("not refused: {other:?}"),
            }
        };

        assert_eq!(refused(&|s| s.max_pending = 1).await.0, Cap::Pending);
        assert_eq!(refused(&|s| s.max_pending_per_agent = 1).await.0, Cap::PendingPerAgent);
        let (cap, wait) = refused(&|s| {
            s.max_new = 1;
            s.new_since = T0.minus(Duration::from_secs(10));
        })
        .await;
        assert_eq!((cap, wait), (Cap::NewPerAgent, 10_001));
        assert_eq!(
            db.store
                .approvals()
                .list(&Filter { limit: 9, ..Filter::default() }, T0)
                .await
                .unwrap()
                .len(),
            1
        );
    })
    .await;
}

#[tokio::test]
async fn a_rate_limit_is_consumed_by_new_approvals_only() {
    on_each(async |db: &Database| {
        let limited = |n: u32, args: &str, second: u64| {
            let since = at(second).minus(Duration::from_secs(60));
            let limit = Some((LimitKey::Seal("k".to_owned()), 2, since));
            placet::store::Submit { limit, ..submission(approval(n, args)) }
        };
        let mut last = None;

        for (n, args, second) in
            [(1, r#"{"a":1}"#, 0), (2, r#"{"a":1}"#, 1), (3, r#"{"a":2}"#, 2), (4, r#"{"a":3}"#, 3)]
        {
            last = Some(
                db.store.approvals().submit(limited(n, args, second), at(second)).await.unwrap(),
            );
        }
        let later =
            db.store.approvals().submit(limited(5, r#"{"a":3}"#, 61), at(61)).await.unwrap();

        assert!(matches!(
            last,
            Some(Submitted::Refused { cap: Cap::RateLimit, retry_after_ms: 57_001 })
        ));
        assert!(matches!(later, Submitted::Created { .. }));
    })
    .await;
}

#[tokio::test]
async fn how_much_of_each_limit_is_used_can_be_read() {
    on_each(async |db: &Database| {
        made(db, 1, r#"{"a":1}"#).await;
        made(db, 2, r#"{"a":2}"#).await;
        let since = at(20).minus(Duration::from_secs(10));
        db.store.limits().take(&LimitKey::Seal("k".to_owned()), 5, since, at(20)).await.unwrap();
        let agent = approval(1, "{}").agent;
        let spent = async |new_since, limit: Option<&str>, since| {
            let limit = limit.map(|key| (LimitKey::Seal(key.to_owned()), since));
            let s = db.store.limits().spent(&agent, new_since, limit).await.unwrap();
            (s.open, s.new, s.limited)
        };

        let before = T0.minus(Duration::from_secs(1));
        assert_eq!(spent(before, Some("k"), at(10)).await, (2, 2, Some(1)));
        assert_eq!(spent(at(3_600), Some("k"), at(20)).await, (2, 0, Some(0)));
        assert_eq!(spent(before, None, T0).await, (2, 2, None));
        let other = db.store.limits().spent("another", before, None).await.unwrap();
        assert_eq!((other.open, other.new), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_limit_counts_what_came_within_its_window_before_now() {
    on_each(async |db: &Database| {
        let take = async |second: u64| {
            let since = at(second).minus(Duration::from_secs(10));
            db.store
                .limits()
                .take(&LimitKey::Seal("k".to_owned()), 2, since, at(second))
                .await
                .unwrap()
        };

        assert_eq!([take(20).await, take(25).await, take(26).await], [None, None, Some(4_001)]);
        assert_eq!([take(30).await, take(31).await], [None, Some(4_001)]);
    })
    .await;
}

#[tokio::test]
async fn beyond_the_held_requests_a_call_is_stored_but_not_attached() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        let mut second = submission(approval(2, "{}"));
        second.max_held = 1;
        let mut third = submission(approval(3, r#"{"a":3}"#));
        third.max_held = 1;

        let joined = db.store.approvals().submit(second, T0).await.unwrap();
        let made = db.store.approvals().submit(third, T0).await.unwrap();
        let hold = submission(approval(4, "{}")).hold;

        assert!(matches!(joined, Submitted::Attached { held: false, .. }));
        assert!(matches!(made, Submitted::Created { held: false, .. }));
        assert!(!db.store.holds().attach(&id(1), &hold, 1, T0).await.unwrap());
        assert_eq!(db.store.holds().attached(&id(1), T0).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_new_session_begins_with_what_the_agent_used_before_it() {
    on_each(async |db: &Database| {
        let take = async |session: &str, began: Option<u64>, second: u64| {
            let key = LimitKey::Calls {
                agent: "ci".to_owned(),
                upstream: "u".to_owned(),
                rule: "/tools/t".to_owned(),
                tool: "t".to_owned(),
                session: session.to_owned(),
                session_began: began.map(at),
            };
            let since = at(second).minus(Duration::from_secs(10));
            db.store.limits().take(&key, 2, since, at(second)).await.unwrap()
        };

        // Sessions side by side have each their own.
        assert_eq!([take("a", Some(1), 20).await, take("a", Some(1), 21).await], [None, None]);
        assert_eq!(take("a", Some(1), 22).await, Some(8_001));
        assert_eq!(take("b", Some(2), 22).await, None);
        // One that begins now has used what all of them did, until that has left the window.
        assert_eq!(take("c", Some(23), 23).await, Some(8_001));
        assert_eq!(take("c", Some(23), 31).await, None);
        assert_eq!(take("c", Some(23), 31).await, Some(1_001));
        assert_eq!(take("c", Some(23), 32).await, None);
    })
    .await;
}

#[tokio::test]
async fn the_token_without_a_session_and_its_sessions_begin_with_no_fresh_limit_at_each_other() {
    on_each(async |db: &Database| {
        let take = async |tool: &str, session: &str, began: Option<u64>, second: u64| {
            let key = LimitKey::Calls {
                agent: "ci".to_owned(),
                upstream: "u".to_owned(),
                rule: "/tools/t".to_owned(),
                tool: tool.to_owned(),
                session: session.to_owned(),
                session_began: began.map(at),
            };
            let since = at(second).minus(Duration::from_secs(10));
            db.store.limits().take(&key, 2, since, at(second)).await.unwrap()
        };

        // What sessions used, the token used.
        assert_eq!(
            [take("t", "a", Some(1), 20).await, take("t", "b", Some(2), 21).await],
            [None; 2]
        );
        assert_eq!(take("t", "token", None, 22).await, Some(8_001));
        assert_eq!(take("t", "token", None, 30).await, None);
        assert_eq!(take("t", "token", None, 30).await, Some(1_001));
        // What the token used, each session used, also one that was there before.
        assert_eq!(
            [take("s", "token", None, 20).await, take("s", "token", None, 21).await],
            [None; 2]
        );
        assert_eq!(take("s", "a", Some(1), 22).await, Some(8_001));
        assert_eq!(take("s", "a", Some(21), 22).await, Some(8_001), "nothing is counted twice");
        assert_eq!(take("s", "a", Some(1), 30).await, None);
        assert_eq!(take("s", "a", Some(1), 30).await, Some(1_001));
        assert_eq!(take("s", "a", Some(1), 31).await, None);
        // Sessions side by side have each their own all the same.
        assert_eq!(take("s", "b", Some(2), 40).await, None);
    })
    .await;
}
