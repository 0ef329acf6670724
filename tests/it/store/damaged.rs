//! Rows that can't be read: each is told of itself, and takes no other with it.

use placet::domain::approval::{ApprovalId, Choice};
use placet::domain::person::Role;
use placet::domain::preferences::Preferences;
use placet::store::{Filter, Fold, Lane, Store as _, StoreError};

use crate::support::approvals::{T0, approval, at, delivery, id, says, submission};
use crate::support::db::{Database, on_each};

/// Makes the approvals 1 to `n`, and damages some of them, each in another way.
async fn some_damaged(db: &Database, n: u32, damaged: &[u32]) {
    for n in 1..=n {
        let new = submission(approval(n, &format!("{{\"n\":{n}}}")));
        db.store.approvals().submit(new, T0).await.unwrap();
    }
    let ways = [
        "terms = '{'",
        "settled = 'no JSON'",
        "decisions = '[{}]'",
        "outcome_kind = 'unheard of'",
        "digest = ''",
        // PostgreSQL takes nothing that is of another kind than the column.
        if db.is_postgres { "terms = ''" } else { "params = cast(x'7bff7d' as text)" },
        if db.is_postgres { "terms = '[]'" } else { "rule = x'00ff'" },
    ];
    for (n, way) in damaged.iter().zip(ways.iter().cycle()) {
        db.raw(&format!("update approvals set {way} where id = '{}'", id(*n))).await;
    }
}

async fn listed(db: &Database, filter: Filter) -> Vec<ApprovalId> {
    let found = db.store.approvals().list(&filter, T0).await.unwrap();
    found.into_iter().map(|approval| approval.id).collect()
}

fn ids(numbers: &[u32]) -> Vec<ApprovalId> {
    numbers.iter().map(|n| id(*n)).collect()
}

#[tokio::test]
async fn a_damaged_approval_is_left_out_of_lists_and_no_page_seems_the_last_one_for_it() {
    on_each(async |db: &Database| {
        some_damaged(db, 12, &[11, 10, 9, 8, 5, 4, 1]).await;

        let page = |limit| Filter { limit, ..Filter::default() };
        assert_eq!(listed(db, page(3)).await, ids(&[12, 7, 6]));
        assert_eq!(listed(db, page(5)).await, ids(&[12, 7, 6, 3, 2]));
        assert_eq!(listed(db, page(50)).await, ids(&[12, 7, 6, 3, 2]));
        let next = Filter { before: Some(id(6).to_string()), ..page(2) };
        assert_eq!(listed(db, next).await, ids(&[3, 2]));
        let fold = Some(Fold { over: 2, shown: 12 });
        assert_eq!(listed(db, Filter { by_urgency: true, fold, ..page(4) }).await.len(), 4);
        let all = db.store.approvals().list(&Filter { whole: true, ..page(3) }, T0).await;
        assert!(matches!(all, Err(StoreError::Corrupt { .. })), "{all:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_damaged_is_named_and_is_no_outage() {
    on_each(async |db: &Database| {
        some_damaged(db, 7, &[1, 2, 3, 4, 5, 6, 7]).await;

        for n in 1..=7 {
            let error = db.store.approvals().find(&id(n), T0).await.unwrap_err();

            let said = error.to_string();
            assert!(said.starts_with("approvals.") && said.contains(id(n).as_str()), "{said}");
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
            assert!(!error.is_outage() && !error.was_refused() && !error.may_be_stored());
        }
    })
    .await;
}

#[tokio::test]
async fn who_watches_misses_no_change_behind_damaged_ones() {
    on_each(async |db: &Database| {
        some_damaged(db, 9, &[1, 2, 3, 4, 6, 7]).await;
        db.store.changes().number(100).await.unwrap();

        let (mut from, mut seen) = (0, Vec::new());
        loop {
            let some = db.store.changes().after(from, None, 2, T0).await.unwrap();
            let full = some.len() == 2;
            from = some.last().map_or(from, |last| last.seq);
            seen.extend(some.into_iter().map(|change| change.approval.id));
            // Who reads takes fewer than a page for the last ones.
            if !full {
                break;
            }
        }

        assert_eq!(seen, ids(&[5, 8, 9]));
    })
    .await;
}

#[tokio::test]
async fn damaged_rows_of_people_and_of_messages_hold_up_nobody_else() {
    on_each(async |db: &Database| {
        let people = db.store.settings();
        for name in ["ana", "ben"] {
            people.set_preferences(name, &Preferences::default()).await.unwrap();
        }
        db.raw("update preferences set data = '{' where reviewer = 'ana'").await;
        let wishes = people.preferences().await.unwrap();
        assert_eq!(wishes, [("ben".to_owned(), Preferences::default())]);

        if db.is_postgres {
            return;
        }
        let mails = vec![delivery("dlv_1", None), delivery("dlv_2", None)];
        db.store.outbox().enqueue(mails, T0).await.unwrap();
        db.raw("update outbox set give_up_at = 'soon', recipient = 'x' where id = 'dlv_1'").await;
        let lane =
            Lane { notifier: "mail".to_owned(), node: "node-a".to_owned(), busy: Vec::new() };
        let due = db.store.outbox().claim(&lane, at(1), at(31), 10).await.unwrap();
        assert_eq!(due.iter().map(|d| d.new.id.as_str()).collect::<Vec<_>>(), ["dlv_2"]);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_damaged_approval_is_refused_and_changes_nothing() {
    on_each(async |db: &Database| {
        some_damaged(db, 1, &[]).await;
        let before = db.store.approvals().find(&id(1), T0).await.unwrap().unwrap();
        let terms = serde_json::to_string(&before.terms).unwrap();
        let said = says("ben", Choice::Approve, at(1));
        let yes = before.decide(said, Role::Reviewer, None).unwrap();
        db.raw("update approvals set terms = '{'").await;

        let refused = db.store.approvals().apply(yes, Vec::new(), at(1)).await;

        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
        db.raw(&format!("update approvals set terms = '{terms}'")).await;
        let after = db.store.approvals().find(&id(1), at(1)).await.unwrap().unwrap();
        assert!(after.decisions.is_empty());
    })
    .await;
}
