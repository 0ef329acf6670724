//! Calls that come faster than they are stored: they wait, many are stored at once, and what
//! becomes of one does not become of its neighbours.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_util::future::join_all;
use placet::domain::approval::{Choice, State, Transition};
use placet::domain::person::Role;
use placet::store::sql::SqlStore;
use placet::store::{Cap, Filter, Patience, Result, Store as _, StoreError, Submit, Submitted};

use crate::support::approvals::{T0, approval, at, id, old, result, says, submission};
use crate::support::db::{Database, on_each};
use crate::support::relay::{Fault, Relay};

/// Call `n` of the agent, with limits that nothing here reaches.
fn of(agent: &str, n: u32) -> Submit {
    let mut submit = submission(approval(n, &format!("{{\"n\":{n}}}")));
    submit.approval.agent = agent.to_owned();
    submit.hold.agent = agent.to_owned();
    submit.max_held = 100_000;
    submit.max_pending_per_agent = 100_000;
    submit.max_pending = 100_000;
    submit.max_new = 100_000;
    submit
}

/// Those of several at once, in their order.
type AtOnce<'a> = Pin<Box<dyn Future<Output = Vec<Result<Submitted>>> + Send + 'a>>;

/// Hands all over before any of them is stored: nothing else runs in between.
async fn handed_over(store: &SqlStore, all: Vec<Submit>) -> AtOnce<'_> {
    let each = all.into_iter().map(|submit| store.approvals().submit(submit, T0));
    let mut all: AtOnce<'_> = Box::pin(join_all(each));
    poll_fn(|cx| {
        assert!(all.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    all
}

fn is_made(submitted: &Result<Submitted>) -> bool {
    matches!(submitted, Ok(Submitted::Created { held: true, .. }))
}

#[tokio::test]
async fn a_burst_of_one_agent_is_stored_and_nothing_of_it_is_refused() {
    const CALLS: u32 = 2_000;
    on_each(async |db: &Database| {
        let burst = (1..=CALLS).map(|n| of("ci", n)).collect();

        let submitted = handed_over(&db.store, burst).await.await;

        let refused: Vec<_> = submitted.iter().filter(|s| !is_made(s)).take(1).collect();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(db.rows("approvals").await, i64::from(CALLS));
        assert_eq!(db.rows("audit").await, i64::from(CALLS));
        assert_eq!(db.rows("holds").await, i64::from(CALLS));
        let stats = db.store.approvals().stats(T0).await.unwrap();
        assert_eq!(stats.by_state, [("pending".to_owned(), i64::from(CALLS))]);
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_one_agent_does_not_delay_anothers_call_by_more_than_what_is_under_way() {
    on_each(async |db: &Database| {
        let flood = handed_over(&db.store, (1..=640).map(|n| of("flood", n)).collect()).await;

        let first = db.store.approvals().submit(of("other", 1_000), T0).await;

        assert!(is_made(&first), "{first:?}");
        let before = db.rows("approvals").await;
        assert!(before <= 1 + 2 * 64, "{before} were stored first");
        assert!(flood.await.iter().all(is_made));
    })
    .await;
}

#[tokio::test]
async fn beyond_what_may_wait_a_call_is_told_to_come_again_and_by_which_limit() {
    on_each(async |db: &Database| {
        let calls = (1..=9).map(|n| {
            let mut submit = of(if n < 6 { "ci" } else { "cd" }, n);
            submit.max_submitting = 6;
            submit.max_submitting_per_agent = 4;
            submit
        });

        let submitted = handed_over(&db.store, calls.collect()).await.await;

        let caps: Vec<Option<Cap>> = submitted
            .iter()
            .map(|s| match s {
                Ok(Submitted::Refused { cap, retry_after_ms }) => {
                    assert!(*retry_after_ms > 0);
                    Some(*cap)
                }
                other => {
                    assert!(is_made(other), "{other:?}");
                    None
                }
            })
            .collect();
        let (own, all) = (Some(Cap::SubmittingPerAgent), Some(Cap::Submitting));
        assert_eq!(caps, [None, None, None, None, own, None, None, all, all]);
        // Those that waited have gone.
        let later = handed_over(&db.store, (11..=14).map(|n| of("ci", n)).collect()).await.await;
        assert!(later.iter().all(is_made), "{later:?}");
    })
    .await;
}

#[tokio::test]
async fn identical_calls_that_are_stored_at_once_make_one_approval() {
    on_each(async |db: &Database| {
        let calls = (1..=5).map(|n| {
            let mut submit = submission(approval(n, "{}"));
            submit.max_held = 3;
            submit
        });

        let submitted = handed_over(&db.store, calls.collect()).await.await;

        assert!(is_made(&submitted[0]));
        let joined: Vec<bool> = submitted[1..]
            .iter()
            .map(|s| match s {
                Ok(Submitted::Attached { approval, held }) => {
                    assert_eq!((&approval.id, approval.waiting), (&id(1), true));
                    *held
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(joined, [true, true, false, false]);
        assert_eq!((db.rows("approvals").await, db.rows("holds").await), (1, 3));
    })
    .await;
}

#[tokio::test]
async fn a_call_that_can_not_be_stored_leaves_its_neighbours_stored() {
    on_each(async |db: &Database| {
        assert!(is_made(&db.store.approvals().submit(of("ci", 1), T0).await));
        assert!(is_made(&db.store.approvals().submit(of("cd", 2), T0).await));
        db.raw("update approvals set decisions = 'x' where agent = 'cd'").await;
        let mut same_id = of("ci", 3);
        same_id.approval.id = id(1);
        let calls = vec![of("ci", 4), same_id, of("ci", 5), of("cd", 2), of("ce", 6)];

        let submitted = handed_over(&db.store, calls).await.await;

        for n in [0, 2, 4] {
            assert!(is_made(&submitted[n]), "{n}: {:?}", submitted[n]);
        }
        assert!(submitted[1].as_ref().is_err_and(StoreError::is_duplicate), "{:?}", submitted[1]);
        let corrupt = matches!(submitted[3], Err(StoreError::Corrupt { column: "decisions", .. }));
        assert!(corrupt, "{:?}", submitted[3]);
        assert_eq!(db.rows("approvals").await, 5);
    })
    .await;
}

#[tokio::test]
async fn what_may_be_new_in_a_window_is_counted_with_what_is_stored_at_once() {
    on_each(async |db: &Database| {
        let limited = |n: u32, second: u64| {
            let mut submit = of("ci", n);
            submit.approval.created_at = at(second);
            submit.max_new = 3;
            submit.new_since = at(second).minus(std::time::Duration::from_secs(10));
            submit
        };
        let early = handed_over(&db.store, (1..=2).map(|n| limited(n, 0)).collect()).await.await;
        assert!(early.iter().all(is_made));

        // The two of the beginning leave the window while these are handed over.
        let calls =
            vec![limited(3, 9), limited(4, 9), limited(5, 10), limited(6, 10), limited(7, 10)];
        let submitted = handed_over(&db.store, calls).await.await;

        let waits: Vec<Option<u64>> = submitted
            .iter()
            .map(|s| match s {
                Ok(Submitted::Refused { cap: Cap::NewPerAgent, retry_after_ms }) => {
                    Some(*retry_after_ms)
                }
                other => {
                    assert!(is_made(other), "{other:?}");
                    None
                }
            })
            .collect();
        assert_eq!(waits[..4], [None, Some(1_001), None, None], "{waits:?}");
        assert!(waits[4].is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_together_make_no_more_than_may_be_pending_and_do_not_block_each_other() {
    on_each(async |db: &Database| {
        let stores = [db.again().await, db.again().await];
        let calls = (1..=400_u32).map(|n| {
            let store = stores[n as usize % 2].clone();
            // Agents come in another order at each.
            let agent = if n % 2 == 0 { n / 2 % 7 } else { 6 - n / 2 % 7 };
            let mut submit = of(&format!("agent-{agent}"), n);
            submit.max_pending = 150;
            tokio::spawn(async move { store.approvals().submit(submit, T0).await })
        });

        let submitted = join_all(calls).await;

        let (mut made, mut refused) = (0, 0);
        for one in submitted {
            match one.unwrap() {
                Ok(Submitted::Created { .. }) => made += 1,
                Ok(Submitted::Refused { cap: Cap::Pending, .. }) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((made, refused), (150, 250));
        for store in stores {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn after_a_commit_whose_answer_was_lost_each_call_of_it_is_looked_for() {
    on_each(async |db: &Database| {
        if !db.is_postgres {
            return;
        }
        let relay = Relay::to(&db.url).await;
        let store = SqlStore::open_with(&relay.url, &Patience::default()).await.unwrap();
        assert!(is_made(&store.approvals().submit(of("ci", 100), T0).await));
        for (first, fault) in [(1, Fault::LoseAnswer), (11, Fault::LoseQuestion)] {
            let mut calls: Vec<Submit> = (first..first + 5).map(|n| of("ci", n)).collect();
            let mut twin = of("ci", first + 6);
            twin.approval.call = of("ci", first).approval.call;
            calls.push(twin);
            let calls = handed_over(&store, calls).await;
            relay.next("commit\0", fault);
            relay.refuse(true);
            let crash = async {
                crate::support::until("the answer was lost", async || relay.happened()).await;
                // Nobody can tell after a crash of the server what became of it.
                db.raw("truncate incarnations").await;
                relay.refuse(false);
            };

            let (mut submitted, ()) = tokio::join!(calls, crash);

            let joined = submitted.pop().unwrap();
            assert!(matches!(joined, Ok(Submitted::Attached { held: true, .. })), "{joined:?}");
            for one in &submitted {
                assert!(is_made(one), "{fault:?}: {one:?}");
            }
        }
        assert_eq!(db.rows("approvals").await, 11);
        assert_eq!(db.rows("holds").await, 13);
        store.close().await;
    })
    .await;
}

/// A row of numbers that is the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Something that may become of an approval.
fn change(dice: &mut Dice, a: &placet::domain::approval::Approval) -> Option<Transition> {
    let a = a.clone();
    match (a.state, dice.roll(4)) {
        (State::Pending, 0) => a.expire(at(10_000)).ok(),
        (State::Pending, 1) => {
            a.decide(says("ben", Choice::Reject, at(1)), Role::Reviewer, None).ok()
        }
        (State::Pending, _) => {
            a.decide(says("ben", Choice::Approve, at(1)), Role::Reviewer, None).ok()
        }
        (State::Approved, 0) => a.cancel("policy", "no longer", at(1)).ok(),
        (State::Approved, _) => a.claim("node-a", at(1)).ok(),
        (State::Running, _) => a.complete(result("x"), at(2)).ok(),
        _ => None,
    }
}

#[tokio::test]
async fn the_counters_are_what_counting_finds_whatever_was_done() {
    on_each(async |db: &Database| {
        let approvals = db.store.approvals();
        for seed in 0..4 {
            let mut dice = Dice(seed);
            for step in 0..25_u32 {
                let n = u32::try_from(seed).unwrap() * 1_000 + step * 10;
                let agent = ["ci", "cd", "ce"][usize::try_from(dice.roll(3)).unwrap()];
                let many = u32::try_from(dice.roll(5)).unwrap() + 1;
                let calls = (1..=many).map(|i| approvals.submit(of(agent, n + i), T0));
                join_all(calls).await;
                let all = Filter { limit: 500, ..Filter::default() };
                for found in approvals.list(&all, T0).await.unwrap() {
                    if let Some(transition) = change(&mut dice, &found) {
                        drop(approvals.apply(transition, Vec::new(), at(2)).await);
                    }
                }
                if dice.roll(8) == 0 {
                    db.store.purge(at(900_000), old(at(5_000))).await.unwrap();
                }
            }
            assert_eq!(db.store.recount().await.unwrap(), 0, "seed {seed}");
            assert!(db.rows("approval_counts").await > 4);
        }
        let spent = db.store.limits().spent("ci", T0, None).await.unwrap();
        let open = Filter {
            states: vec![State::Pending, State::Approved],
            agent: Some("ci".to_owned()),
            limit: 500,
            ..Filter::default()
        };
        assert_eq!(
            spent.open,
            i64::try_from(approvals.list(&open, T0).await.unwrap().len()).unwrap()
        );
    })
    .await;
}

#[tokio::test]
async fn counters_that_are_wrong_are_set_right_at_the_start() {
    on_each(async |db: &Database| {
        for n in 1..=3 {
            assert!(is_made(&db.store.approvals().submit(of("ci", n), T0).await));
        }
        db.raw("update approval_counts set n = n + 7 where agent = 'ci'").await;
        db.raw("delete from approval_counts where agent = ''").await;

        assert!(db.store.recount().await.unwrap() > 0);

        assert_eq!(db.store.recount().await.unwrap(), 0);
        let stats = db.store.approvals().stats(T0).await.unwrap();
        assert_eq!(stats.by_state, [("pending".to_owned(), 3)]);
        assert_eq!(db.store.limits().spent("ci", T0, None).await.unwrap().open, 3);
    })
    .await;
}
