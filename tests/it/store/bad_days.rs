//! The database goes away, goes silent, is locked or full: what was stored is told as stored, what
//! was not as not stored, and when it is back all goes on without a restart.

use std::time::{Duration, Instant};

use placet::domain::approval::{Approval, Choice, State, Transition};
use placet::domain::person::Role;
use placet::store::sql::SqlStore;
use placet::store::{Patience, Store as _, StoreError, Submit, Submitted};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use crate::support::approvals::{T0, approval, at, id, old, says, submission};
use crate::support::db::{Database, on_each};
use crate::support::relay::{Fault, Relay};

const COMMIT: &str = "commit\0";

fn quick() -> Patience {
    Patience {
        statement: Duration::from_secs(1),
        lock: Duration::from_millis(500),
        idle_in_transaction: Duration::from_secs(1),
        connect: Duration::from_secs(2),
        retry: Duration::from_secs(4),
        keepalive: Duration::from_secs(2),
        ..Patience::default()
    }
}

/// Runs the test where there is PostgreSQL, with a store behind a relay.
async fn behind_a_relay(test: impl AsyncFn(&Database, &Relay, &SqlStore)) {
    on_each(async |db: &Database| {
        if !db.is_postgres {
            return;
        }
        let relay = Relay::to(&db.url).await;
        let store = SqlStore::open_with(&relay.url, &quick()).await.unwrap();
        test(db, &relay, &store).await;
        store.close().await;
    })
    .await;
}

fn of(agent: &str, n: u32) -> Submit {
    let mut submit = submission(approval(n, &format!("{{\"n\":{n}}}")));
    submit.approval.agent = agent.to_owned();
    submit.hold.agent = agent.to_owned();
    submit.max_pending = 10_000;
    submit
}

fn approved(before: &Approval) -> Transition {
    let said = says("ben", Choice::Approve, at(1));
    before.clone().decide(said, Role::Reviewer, None).unwrap()
}

#[test]
fn the_deadlines_of_a_store_are_those_of_the_configuration() {
    let config = crate::support::fixtures::config_of("", None, &placet::config::Environment::new());

    assert_eq!(Patience::from(&config.database), Patience::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_told_as_stored_though_the_answer_was_lost() {
    behind_a_relay(async |db, relay, store| {
        relay.next(COMMIT, Fault::LoseAnswer);

        let submitted = store.approvals().submit(of("ci", 1), T0).await.unwrap();

        assert!(relay.happened());
        assert!(matches!(submitted, Submitted::Created { held: true, .. }), "{submitted:?}");
        assert!(db.store.approvals().find(&id(1), T0).await.unwrap().is_some());
        let before = store.approvals().find(&id(1), T0).await.unwrap().unwrap();
        relay.next(COMMIT, Fault::LoseAnswer);
        let decided = approved(&before);
        let after = store.approvals().apply(decided, Vec::new(), at(1)).await.unwrap();
        assert_eq!((relay.happened(), after.state), (true, State::Approved));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_made_again_once() {
    behind_a_relay(async |db, relay, store| {
        relay.next(COMMIT, Fault::LoseQuestion);

        let submitted = store.approvals().submit(of("ci", 1), T0).await.unwrap();

        assert!(matches!(submitted, Submitted::Created { held: true, .. }), "{submitted:?}");
        let stats = db.store.approvals().stats(T0).await.unwrap();
        assert_eq!(stats.by_state, [("pending".to_owned(), 1)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_truth_can_not_be_learned_may_be_stored() {
    behind_a_relay(async |db, relay, store| {
        store.check().await.unwrap();
        relay.next(COMMIT, Fault::LoseAnswer);
        relay.refuse(true);

        let unknown = store.secret("x", [1; 32]).await.unwrap_err();

        assert!(matches!(unknown, StoreError::Unknown(_)), "{unknown}");
        relay.refuse(false);
        assert_eq!(db.store.secret("x", [2; 32]).await.unwrap(), [1; 32]);
        assert_eq!(store.secret("x", [3; 32]).await.unwrap(), [1; 32]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_transactions_mean_nothing_after_a_crash_of_the_server() {
    behind_a_relay(async |db, relay, store| {
        store.check().await.unwrap();
        relay.next(COMMIT, Fault::LoseAnswer);
        relay.refuse(true);
        let lost = store.secret("x", [1; 32]);
        let crash = async {
            crate::support::until("the answer was lost", async || relay.happened()).await;
            // What a crash leaves of an unlogged table.
            db.raw("truncate incarnations").await;
            relay.refuse(false);
        };

        let (lost, ()) = tokio::join!(lost, crash);

        assert!(matches!(lost, Err(StoreError::Unknown(_))), "{lost:?}");
        store.check().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_given_up_in_time_and_the_next_ones_are_used() {
    behind_a_relay(async |_, relay, store| {
        store.check().await.unwrap();
        store.approvals().find(&id(1), T0).await.unwrap();
        relay.next("begin", Fault::Silence);
        let began = Instant::now();

        store.check().await.unwrap();

        assert!(relay.happened());
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        relay.hush(true);
        let began = Instant::now();
        assert!(store.check().await.is_err());
        assert!(store.approvals().find(&id(1), T0).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        relay.hush(false);
        store.check().await.unwrap();
        store.approvals().find(&id(1), T0).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_inside_a_submission_keeps_nobody_else_out_for_long() {
    behind_a_relay(async |db, relay, stopped| {
        let other = SqlStore::open_with(&db.url, &quick()).await.unwrap();
        other.approvals().submit(of("cd", 9), T0).await.unwrap();
        let ours = other.approvals().find(&id(9), T0).await.unwrap().unwrap();
        relay.next("insert into approvals", Fault::Silence);
        let stopped = stopped.clone();
        let stuck = tokio::spawn(async move { stopped.approvals().submit(of("ci", 1), T0).await });
        crate::support::until("it has stopped", async || relay.happened()).await;
        let began = Instant::now();

        let decided = approved(&ours);
        other.approvals().apply(decided, Vec::new(), at(1)).await.unwrap();
        other.approvals().submit(of("cd", 2), T0).await.unwrap();
        other.check().await.unwrap();
        let apart = began.elapsed();
        other.approvals().submit(of("ci", 3), T0).await.unwrap();

        assert!(apart < Duration::from_millis(900), "others waited for {apart:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        stuck.await.unwrap().unwrap();
        other.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_serializable_by_default_refuses_no_submission() {
    on_each(async |db: &Database| {
        if !db.is_postgres {
            return;
        }
        let mut admin = PgConnection::connect(&db.url).await.unwrap();
        let name: String =
            admin.fetch_one("select current_database()").await.unwrap().try_get(0).unwrap();
        let set = format!("alter database {name} set default_transaction_isolation = serializable");
        admin.execute(AssertSqlSafe(set)).await.unwrap();
        let stores = [db.again().await, db.again().await];

        let all = (1..=60_u32).map(|n| {
            let (store, agent) = (stores[n as usize % 2].clone(), ["ci", "cd"][n as usize / 2 % 2]);
            tokio::spawn(async move { store.approvals().submit(of(agent, n), T0).await })
        });

        for one in futures_util::future::join_all(all).await {
            assert!(matches!(one.unwrap(), Ok(Submitted::Created { .. })));
        }
        for store in stores {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_keeps_locked_for_a_while_is_waited_for() {
    on_each(async |db: &Database| {
        if !db.is_postgres {
            return;
        }
        for n in [1, 2] {
            db.store.approvals().submit(of("ci", n), T0).await.unwrap();
        }
        // Somebody who takes the rows in the other order than the store does.
        let mut other = PgConnection::connect(&db.url).await.unwrap();
        other.execute("begin; set local deadlock_timeout = '10s'").await.unwrap();
        let lock =
            |n| AssertSqlSafe(format!("update approvals set owed = owed where id = '{}'", id(n)));
        other.execute(lock(1)).await.unwrap();
        let store = SqlStore::open_with(&db.url, &quick()).await.unwrap();
        let before = store.approvals().find(&id(1), T0).await.unwrap().unwrap();

        let decided = approved(&before);
        let waits = tokio::spawn({
            let store = store.clone();
            async move { store.approvals().apply(decided, Vec::new(), at(1)).await }
        });
        // Longer than the lock's deadline, shorter than that of trying again.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        other.execute("commit").await.unwrap();

        assert_eq!(waits.await.unwrap().unwrap().state, State::Approved);
        store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_whose_connections_hang_take_none_from_people() {
    behind_a_relay(async |_, relay, store| {
        store.close().await;
        let few = Patience { agent_connections: 1, ..quick() };
        let store = SqlStore::open_with(&relay.url, &few).await.unwrap();
        relay.next("insert into approvals", Fault::Silence);
        let stuck = tokio::spawn({
            let store = store.clone();
            async move { store.approvals().submit(of("ci", 1), T0).await }
        });
        crate::support::until("it hangs", async || relay.happened()).await;
        let began = Instant::now();

        store.approvals().find(&id(1), T0).await.unwrap();
        store.check().await.unwrap();
        store.nodes().renew("node-a", T0, at(10)).await.unwrap();

        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
        stuck.await.unwrap().unwrap();
        store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_write_between_the_steps_of_a_purge() {
    const OLD: u32 = 3_000;
    on_each(async |db: &Database| {
        db.store.approvals().submit(of("ci", 1), T0).await.unwrap();
        let ended = format!(
            "insert into approvals (id, version, state, upstream, method, tool, params, digest, \
                 agent, rule, terms, sensitive, audience, unattended, decisions, created_at, \
                 expires_at, changed_at, finished_at, owed) \
             select 'old' || n, 1, 'expired', upstream, method, tool, params, 'd' || n, agent, \
                 rule, terms, sensitive, audience, unattended, decisions, created_at, expires_at, \
                 changed_at, n, 0 \
               from approvals, (with recursive up(n) as (select 1 union all select n + 1 from up \
                 where n < {OLD}) select n from up) as numbers; \
             insert into approval_words (word, approval) select 'old', id from approvals \
              where finished_at is not null"
        );
        db.raw(&ended).await;
        let purge = tokio::spawn({
            let store = db.store.clone();
            async move { store.purge(T0, old(T0)).await.unwrap() }
        });
        let mut between = 0;
        while !purge.is_finished() {
            db.store.check().await.unwrap();
            between += 1;
        }

        assert!(purge.await.unwrap() >= u64::from(OLD) * 2);
        assert!(between > 10, "{between}");
        assert_eq!(db.store.approvals().stats(T0).await.unwrap().by_state.len(), 1);
    })
    .await;
}
