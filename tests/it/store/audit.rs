//! Records that belong to their change, sealed in one chain, and every touch of it found.

use std::sync::Arc;

use placet::domain::approval::Choice;
use placet::domain::audit::{AuditEvent, BrokenAt, Chain, Kind};
use placet::domain::person::Role;
use placet::store::Store;

use crate::support::approvals::{T0, approval, at, id, says, submission};
use crate::support::db::{Database, on_each};

async fn walk(db: &Database) -> Result<Chain, BrokenAt> {
    let mut chain = Chain::new();
    for record in db.store.audit().list(0, 1_000).await.unwrap() {
        chain.check(&record)?;
    }
    Ok(chain)
}

/// Some records of all sorts, sealed.
async fn written(db: &Database) {
    db.store.approvals().submit(submission(approval(1, "{}")), T0).await.unwrap();
    let found = db.store.approvals().find(&id(1), T0).await.unwrap().unwrap();
    let mut decision = says("ben", Choice::Reject, at(1));
    "“no” \u{202e}\0 \"\\".clone_into(&mut decision.reason);
    let no = found.decide(decision, Role::Reviewer, None).unwrap();
    db.store.approvals().apply(no, Vec::new(), at(1)).await.unwrap();
    let events = (2..7).map(|n| AuditEvent::new(Kind::CallAllowed, "ci", at(n)).with("n", "x"));
    db.store.audit().append(events.collect()).await.unwrap();
    while db.store.audit().seal(3).await.unwrap() > 0 {}
}

#[tokio::test]
async fn records_are_sealed_in_order_and_the_chain_holds() {
    on_each(async |db: &Database| {
        written(db).await;

        let records = db.store.audit().list(0, 1_000).await.unwrap();

        let kinds: Vec<_> = records.iter().map(|r| r.kind.as_str()).collect();
        assert_eq!(kinds[..3], ["approval_requested", "decision_recorded", "approval_rejected"]);
        assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
        assert_eq!(db.store.audit().list(6, 1).await.unwrap()[0].seq, 7);
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 0);
        let chain = walk(db).await.unwrap();
        assert_eq!((chain.records(), chain.head()), (8, records[7].hash.as_str()));
    })
    .await;
}

#[tokio::test]
async fn every_touched_byte_and_every_removed_record_is_found() {
    on_each(async |db: &Database| {
        written(db).await;
        let whole = walk(db).await.unwrap();

        for (change, back) in [
            ("at = at + 1", "at = at - 1"),
            ("kind = 'call_denied'", "kind = 'call_allowed'"),
            ("actor = 'cj'", "actor = 'ci'"),
            ("approval = ''", "approval = null"),
            ("data = '{\"n\":\"y\"}'", "data = '{\"n\":\"x\"}'"),
            ("data = '{\"n\": \"x\"}'", "data = '{\"n\":\"x\"}'"),
        ] {
            db.raw(&format!("update audit set {change} where seq = 5")).await;
            assert_eq!(walk(db).await.unwrap_err().seq, 5, "{change}");
            db.raw(&format!("update audit set {back} where seq = 5")).await;
            assert_eq!(walk(db).await.unwrap().head(), whole.head());
        }
        for (change, seq) in [
            ("update audit set hash = prev where seq = 5", 5),
            ("update audit set hash = null where seq = 4", 4),
            ("delete from audit where seq = 3", 3),
            ("update audit set seq = seq - 1 where seq = 2", 1),
        ] {
            if seq == 1 {
                db.raw("delete from audit where seq = 1").await;
            }
            db.raw(change).await;
            assert_eq!(walk(db).await.unwrap_err().seq, seq, "{change}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sealers_at_once_make_one_chain() {
    on_each(async |db: &Database| {
        let other = db.again().await;
        let event = |n: u64| AuditEvent::new(Kind::CallAllowed, "ci", at(n));

        for n in 0..20 {
            let (a, b, c, d) = tokio::join!(
                db.store.audit().append(vec![event(n), event(n)]),
                other.audit().append(vec![event(n)]),
                db.store.audit().seal(2),
                other.audit().seal(2)
            );
            a.unwrap();
            b.unwrap();
            c.unwrap();
            d.unwrap();
        }
        while db.store.audit().seal(100).await.unwrap() > 0 {}

        assert_eq!(walk(db).await.unwrap().records(), 60);
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_chain_whose_end_was_cut_has_another_head_and_fewer_records() {
    on_each(async |db: &Database| {
        written(db).await;
        let whole = walk(db).await.unwrap();

        db.raw("delete from audit where seq = 8").await;
        let cut = walk(db).await.unwrap();

        assert_eq!((whole.records(), cut.records()), (8, 7));
        assert_ne!(whole.head(), cut.head());
    })
    .await;
}

fn calls(n: u64) -> Vec<AuditEvent> {
    let call = |n: u64| AuditEvent::new(Kind::CallAllowed, "c\0i", at(n)).with("n", &n.to_string());
    (0..n).map(call).collect()
}

#[tokio::test]
async fn a_group_of_allowed_calls_is_sealed_at_once_and_in_order_after_what_was_there_before() {
    on_each(async |db: &Database| {
        const CALLS: u64 = 303;
        db.store.approvals().submit(submission(approval(1, "{}")), T0).await.unwrap();

        db.store.audit().append_sealed(Arc::new(Vec::new())).await.unwrap();
        db.store.audit().append_sealed(Arc::new(calls(CALLS))).await.unwrap();
        db.store.audit().append_sealed(Arc::new(calls(1))).await.unwrap();

        assert_eq!(db.store.audit().unsealed().await.unwrap(), 0);
        assert_eq!(walk(db).await.unwrap().records(), 305);
        let records = db.store.audit().list(0, 1_000).await.unwrap();
        assert_eq!(records[0].kind, "approval_requested");
        for (n, record) in records[1..=303].iter().enumerate() {
            assert_eq!(record.data, format!(r#"{{"n":"{n}"}}"#));
            assert_eq!((record.actor.as_str(), record.at), ("c\u{fffd}i", at(n as u64)));
        }
        db.raw("update audit set actor = 'ben' where seq = 200").await;
        assert_eq!(walk(db).await.unwrap_err().seq, 200);
    })
    .await;
}

#[tokio::test]
async fn a_group_behind_more_than_the_sealer_does_at_a_time_waits_for_the_sealer_too() {
    on_each(async |db: &Database| {
        db.store.audit().append(calls(501)).await.unwrap();

        db.store.audit().append_sealed(Arc::new(calls(2))).await.unwrap();

        assert_eq!(db.store.audit().unsealed().await.unwrap(), 503);
        while db.store.audit().seal(100).await.unwrap() > 0 {}
        assert_eq!(walk(db).await.unwrap().records(), 503);
        let last = db.store.audit().list(501, 10).await.unwrap();
        assert_eq!(last.iter().map(|r| r.at).collect::<Vec<_>>(), [at(0), at(1)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_two_brokers_and_their_sealers_make_one_chain() {
    on_each(async |db: &Database| {
        let other = db.again().await;

        for _ in 0..20 {
            let done = tokio::join!(
                db.store.audit().append_sealed(Arc::new(calls(20))),
                other.audit().append_sealed(Arc::new(calls(3))),
                other.audit().append(calls(2)),
                db.store.audit().seal(2),
                other.audit().seal(2)
            );
            done.0.and(done.1).and(done.2).unwrap();
            done.3.and(done.4).unwrap();
        }
        while db.store.audit().seal(100).await.unwrap() > 0 {}

        assert_eq!(walk(db).await.unwrap().records(), 500);
        other.close().await;
    })
    .await;
}
