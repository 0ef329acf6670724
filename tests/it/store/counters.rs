//! Counters: taken whole or not at all, shared by all brokers of a database, given back, swept.

use std::time::Duration;

use placet::domain::approval::{Choice, Outcome};
use placet::domain::policy::{Period, Window};
use placet::domain::quantity::Quantity;
use placet::domain::reservation::Reservation;
use placet::domain::time::Timestamp;
use placet::store::counters::{Counter, CounterKey, Draw, Reserving, SessionOf, What};
use placet::store::sql::SqlStore;
use placet::store::{LimitKey, Old, Store, Submit, Submitted};

use crate::support::approvals::{T0, approval, at, id, says, submission};
use crate::support::db::{Database, on_each};

const MINUTE: Window = Window::Sliding(Duration::from_secs(60));

fn named(name: &str, window: Window, session: SessionOf) -> Counter {
    let key = CounterKey {
        upstream: "images".to_owned(),
        what: What::Named(name.to_owned()),
        window: window.word(),
        tool: String::new(),
        agent: "ci".to_owned(),
    };
    Counter { key, window, session }
}

fn draw(name: &str, amount: &str, max: &str) -> Draw {
    drawn(named(name, MINUTE, SessionOf::Any), amount, max)
}

fn drawn(counter: Counter, amount: &str, max: &str) -> Draw {
    let read = |text| Quantity::parse(text).unwrap();
    Draw { counter, amount: read(amount), max: read(max) }
}

async fn reserve(store: &SqlStore, draws: &[Draw], now: Timestamp) -> Reserving {
    store.counters().reserve(None, draws.to_vec(), now).await.unwrap()
}

/// What was taken, or how much was used and when it is free again.
async fn taken(store: &SqlStore, draws: &[Draw], now: Timestamp) -> Result<Reservation, String> {
    match reserve(store, draws, now).await {
        Reserving::Taken(reservation) => Ok(reservation),
        Reserving::Over(over) => Err(format!("{}: {} used", over.draw, over.used)),
        Reserving::RateLimited(_) => Err("rate limited".to_owned()),
    }
}

async fn used(store: &SqlStore, counter: Counter, now: Timestamp) -> String {
    store.counters().used(vec![counter], now).await.unwrap()[0].to_string()
}

#[tokio::test]
async fn exact_decimals_add_up_to_the_last_cent_and_not_beyond() {
    on_each(async |db: &Database| {
        for second in 0..10 {
            assert!(taken(&db.store, &[draw("spent", "0.1", "1")], at(second)).await.is_ok());
        }
        let over = taken(&db.store, &[draw("spent", "0.000000000001", "1")], at(10)).await;

        assert_eq!(over.unwrap_err(), "0: 1 used");
        assert_eq!(used(&db.store, named("spent", MINUTE, SessionOf::Any), at(10)).await, "1");
    })
    .await;
}

#[tokio::test]
async fn all_counters_of_a_call_are_taken_or_none() {
    on_each(async |db: &Database| {
        let both = [draw("wide", "1", "9"), draw("narrow", "1", "1")];
        assert!(taken(&db.store, &both, T0).await.is_ok());

        assert_eq!(taken(&db.store, &both, T0).await.unwrap_err(), "1: 1 used");

        assert_eq!(used(&db.store, named("wide", MINUTE, SessionOf::Any), T0).await, "1");
        // Nor where the rate limit refuses, nor is that counted where a counter does.
        let rate =
            || Some((LimitKey::Seal("k".to_owned()), 1, at(0).minus(MINUTE.longest().unwrap())));
        let counters = db.store.counters();
        let full = counters.reserve(rate(), both.to_vec(), T0).await.unwrap();
        assert!(matches!(full, Reserving::Over(_)));
        let fits = vec![draw("wide", "1", "9")];
        let first = counters.reserve(rate(), fits.clone(), T0).await.unwrap();
        assert!(matches!(first, Reserving::Taken(_)));
        let second = counters.reserve(rate(), fits, T0).await.unwrap();
        assert!(matches!(second, Reserving::RateLimited(60_001)), "{second:?}");
        assert_eq!(used(&db.store, named("wide", MINUTE, SessionOf::Any), T0).await, "2");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_by_two_brokers_never_pass_the_cap_and_none_is_lost() {
    on_each(async |db: &Database| {
        let other = db.again().await;
        let tasks: Vec<_> = (0..64)
            .map(|n| {
                let store = if n % 2 == 0 { db.store.clone() } else { other.clone() };
                tokio::spawn(async move {
                    let both = [draw("spent", "0.7", "21"), draw("calls", "1", "100")];
                    taken(&store, &both, T0).await.is_ok()
                })
            })
            .collect();
        let mut passed = 0;
        for task in tasks {
            passed += u32::from(task.await.unwrap());
        }

        assert_eq!(passed, 30);
        assert_eq!(used(&db.store, named("spent", MINUTE, SessionOf::Any), T0).await, "21");
        assert_eq!(used(&other, named("calls", MINUTE, SessionOf::Any), T0).await, "30");
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_given_back_is_free_again_and_no_more_than_that() {
    on_each(async |db: &Database| {
        let counters = db.store.counters();
        let first = taken(&db.store, &[draw("spent", "4", "5")], at(0)).await.unwrap();
        assert!(taken(&db.store, &[draw("spent", "1", "5")], at(30)).await.is_ok());

        counters.give_back(&first).await.unwrap();

        assert_eq!(used(&db.store, named("spent", MINUTE, SessionOf::Any), at(31)).await, "1");
        assert!(taken(&db.store, &[draw("spent", "4", "5")], at(31)).await.is_ok());
        assert!(taken(&db.store, &[draw("spent", "1", "5")], at(31)).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_window_is_emptied_by_time_and_says_when_enough_is_free() {
    on_each(async |db: &Database| {
        taken(&db.store, &[draw("spent", "3", "5")], at(0)).await.unwrap();
        taken(&db.store, &[draw("spent", "2", "5")], at(30)).await.unwrap();

        let Reserving::Over(over) = reserve(&db.store, &[draw("spent", "1", "5")], at(31)).await
        else {
            panic!("not over")
        };
        assert!((29_000..=30_000).contains(&over.frees_in_ms), "{over:?}");
        let Reserving::Over(over) = reserve(&db.store, &[draw("spent", "4", "5")], at(31)).await
        else {
            panic!("not over")
        };
        assert!((59_000..=60_000).contains(&over.frees_in_ms), "{over:?}");
        assert!(taken(&db.store, &[draw("spent", "1", "5")], at(59)).await.is_err());
        assert!(taken(&db.store, &[draw("spent", "3", "5")], at(61)).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_day_of_the_calendar_ends_at_midnight_utc() {
    on_each(async |db: &Database| {
        let day = Window::Calendar(Period::Day);
        let of_day = |amount| drawn(named("spent", day, SessionOf::Any), amount, "5");
        let at = |text| Timestamp::parse(text).unwrap();
        let late = at("2026-11-22T23:59:59Z");
        assert!(taken(&db.store, &[of_day("5")], late).await.is_ok());

        let Reserving::Over(over) = reserve(&db.store, &[of_day("5")], late).await else {
            panic!("not over")
        };

        assert_eq!(over.frees_in_ms, 1_001);
        assert!(taken(&db.store, &[of_day("5")], at("2026-11-23T00:00:00Z")).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_new_session_begins_with_what_the_others_had_used_and_the_token_spends_what_all_do() {
    on_each(async |db: &Database| {
        let own =
            |id: &str, began: u64| SessionOf::Own { id: id.to_owned(), began: Some(at(began)) };
        let take = async |session: SessionOf, second: u64| {
            let draw = drawn(named("spent", MINUTE, session), "1", "2");
            taken(&db.store, &[draw], at(second)).await.is_ok()
        };

        assert!(take(own("a", 0), 1).await && take(own("a", 0), 2).await);
        assert!(!take(own("a", 0), 3).await, "its own is used up");
        assert!(!take(own("b", 10), 11).await, "begun after that was used");
        assert!(take(own("c", 0), 12).await, "it was there before");
        assert!(!take(SessionOf::Token, 13).await, "without a session all count");
        assert!(take(own("b", 10), 65).await, "what was used before has left the window");
        assert!(take(SessionOf::Token, 80).await);
        assert!(!take(own("b", 10), 81).await, "what came without a session counts in all");
    })
    .await;
}

fn limited(n: u32, args: &str) -> Submit {
    Submit { draws: vec![draw("spent", "1", "2")], ..submission(approval(n, args)) }
}

#[tokio::test]
async fn an_approval_takes_with_its_making_and_whoever_joins_takes_nothing() {
    on_each(async |db: &Database| {
        let submit = async |n, args: &str| {
            db.store.approvals().submit(limited(n, args), at(u64::from(n))).await.unwrap()
        };

        assert!(matches!(submit(1, r#"{"a":1}"#).await, Submitted::Created { .. }));
        assert!(matches!(submit(2, r#"{"a":1}"#).await, Submitted::Attached { .. }));
        assert!(matches!(submit(3, r#"{"a":2}"#).await, Submitted::Created { .. }));
        assert!(matches!(submit(4, r#"{"a":3}"#).await, Submitted::Over(_)));

        assert_eq!(used(&db.store, named("spent", MINUTE, SessionOf::Any), at(5)).await, "2");
        let stored = db.store.approvals().find(&id(1), at(5)).await.unwrap().unwrap();
        assert_eq!(stored.terms.reserved.0.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_approval_gives_back_what_it_took_where_its_call_had_no_effect() {
    on_each(async |db: &Database| {
        let counter = || named("spent", MINUTE, SessionOf::Any);
        let store = db.store.approvals();
        let made = async |n: u32| {
            let args = format!("{{\"a\":{n}}}");
            let submitted = store.submit(limited(n, &args), T0).await.unwrap();
            let Submitted::Created { approval, .. } = submitted else { panic!("{submitted:?}") };
            approval
        };

        let rejected = made(1).await.cancel("ana", "no", at(1)).unwrap();
        store.apply(rejected, Vec::new(), at(1)).await.unwrap();
        assert_eq!(used(&db.store, counter(), at(1)).await, "0", "cancelled");
        for (n, outcome, left) in [
            (2, Outcome::Error("{}".to_owned()), "0"),
            (3, Outcome::Result(r#"{"isError":true}"#.to_owned()), "0"),
            (4, Outcome::Result("{}".to_owned()), "1"),
        ] {
            let yes = says("ben", Choice::Approve, at(1));
            let approved = made(n).await.decide(yes, placet::config::Role::Reviewer, None).unwrap();
            let approved = store.apply(approved, Vec::new(), at(1)).await.unwrap();
            let claimed = approved.claim("node", at(1)).unwrap();
            let claimed = store.apply(claimed, Vec::new(), at(1)).await.unwrap();
            assert_eq!(used(&db.store, counter(), at(1)).await, "1", "it runs");
            let done = claimed.complete(outcome, at(1)).unwrap();
            store.apply(done, Vec::new(), at(1)).await.unwrap();
            assert_eq!(used(&db.store, counter(), at(1)).await, left, "{n}");
        }
        let lost = made(5).await;
        assert_eq!(used(&db.store, counter(), at(1)).await, "2");
        store
            .apply(lost.clone().expire(lost.expires_at).unwrap(), Vec::new(), at(1))
            .await
            .unwrap();
        assert_eq!(used(&db.store, counter(), at(1)).await, "1", "expired");
    })
    .await;
}

#[tokio::test]
async fn only_what_has_left_its_window_is_swept_however_long_that_is() {
    on_each(async |db: &Database| {
        let day = 86_400;
        let old = |now: u64| {
            (at(now), Old { history_before: T0.minus(MINUTE.longest().unwrap()), idle_before: T0 })
        };
        let counter = |name: &str, days: u64| {
            named(name, Window::Sliding(Duration::from_secs(days * day)), SessionOf::Any)
        };
        let key = |rule: &str| LimitKey::Calls {
            agent: "ci".to_owned(),
            upstream: "images".to_owned(),
            rule: rule.to_owned(),
            tool: String::new(),
            session: String::new(),
            session_began: None,
        };
        let take = async |rule: &str, days: u64, now: u64| {
            let since = at(now).minus(Duration::from_secs(days * day));
            db.store.limits().take(&key(rule), 1, since, at(now)).await.unwrap().is_none()
        };
        taken(&db.store, &[drawn(counter("short", 1), "1", "1")], T0).await.unwrap();
        taken(&db.store, &[drawn(counter("long", 90), "1", "1")], T0).await.unwrap();
        assert!(take("/short", 1, 0).await && take("/long", 90, 0).await);

        let (now, what) = old(40 * day);
        db.store.purge(now, what).await.unwrap();

        assert_eq!((db.rows("counters").await, db.rows("rate_uses").await), (1, 1));
        assert!(!take("/long", 90, 40 * day).await, "the ninety days are not over");
        assert!(
            taken(&db.store, &[drawn(counter("long", 90), "1", "1")], at(40 * day)).await.is_err()
        );
        let (now, what) = old(100 * day);
        db.store.purge(now, what).await.unwrap();
        assert_eq!((db.rows("counters").await, db.rows("rate_uses").await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_is_used_of_an_upstreams_counters_can_be_listed() {
    on_each(async |db: &Database| {
        let shared = Counter {
            key: CounterKey {
                upstream: String::new(),
                agent: String::new(),
                ..named("x", MINUTE, SessionOf::Any).key
            },
            ..named("x", MINUTE, SessionOf::Any)
        };
        let own = SessionOf::Own { id: "s".to_owned(), began: None };
        let all = [
            draw("a", "2", "9"),
            drawn(shared, "3", "9"),
            drawn(named("b", MINUTE, own), "4", "9"),
        ];
        taken(&db.store, &all, T0).await.unwrap();

        let listed = async |upstream: &str, second| {
            let rows = db.store.counters().counters_of(upstream, 10, at(second)).await.unwrap();
            let mut told: Vec<String> = rows
                .iter()
                .map(|row| {
                    format!("{:?} {} {}", row.key.what, row.session, row.tally.used(MINUTE, T0))
                })
                .collect();
            told.sort();
            told
        };

        assert_eq!(
            listed("images", 1).await,
            [r#"Named("a")  2"#, r#"Named("b") s 4"#, r#"Named("x")  3"#]
        );
        assert_eq!(listed("other", 1).await, [r#"Named("x")  3"#]);
        assert_eq!(listed("images", 120).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_counter_that_can_not_be_read_refuses_and_is_never_taken_for_nothing() {
    on_each(async |db: &Database| {
        taken(&db.store, &[draw("spent", "1", "5")], T0).await.unwrap();
        db.raw("update counters set slots = 'x'").await;

        let done = db.store.counters().reserve(None, vec![draw("spent", "1", "5")], T0).await;

        assert!(done.unwrap_err().to_string().contains("counters"));
    })
    .await;
}
