//! Records that belong to their change, sealed in one chain, and every touch of it found.

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
