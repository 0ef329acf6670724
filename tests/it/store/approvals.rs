//! Made, joined, told, capped, ended, found.

use placet::domain::approval::{Approval, Choice, State, Transition};
use placet::domain::call::{Method, ToolCall};
use placet::domain::person::{Person, Role};
use placet::store::{Filter, Store, StoreError, Submitted};

use crate::support::approvals::{T0, approval, at, delivery, id, old, result, says, submission};
use crate::support::db::{Database, on_each};

/// Makes it, with `node-a` alive.
pub(super) async fn made(db: &Database, n: u32, args: &str) -> Approval {
    db.store.nodes().renew("node-a", T0, at(100_000)).await.unwrap();
    match db.store.approvals().submit(submission(approval(n, args)), T0).await.unwrap() {
        Submitted::Created { .. } => {}
        other => panic!("not created: {other:?}"),
    }
    db.store.approvals().find(&id(n), T0).await.unwrap().unwrap()
}

async fn decided(db: &Database, n: u32, choice: Choice, second: u64) -> Approval {
    let now = at(second);
    let found = db.store.approvals().find(&id(n), now).await.unwrap().unwrap();
    let transition = found.decide(says("ben", choice, now), Role::Reviewer, None).unwrap();
    db.store.approvals().apply(transition, Vec::new(), now).await.unwrap()
}

async fn completed(db: &Database, n: u32, second: u64) -> Approval {
    let now = at(second);
    let approved = decided(db, n, Choice::Approve, second).await;
    let claim = approved.claim("node-a", now).unwrap();
    let running = db.store.approvals().apply(claim, Vec::new(), now).await.unwrap();
    let end = running.complete(result("done"), now).unwrap();
    db.store.approvals().apply(end, Vec::new(), now).await.unwrap()
}

#[tokio::test]
async fn what_is_stored_comes_back_as_it_was() {
    on_each(async |db: &Database| {
        let args = "{\"n\":1.00,\"s\":\"\\u0000 \\ud83d\\ude00\",\"t\":\"\u{202e}﷽ 👩‍🚒\"}";

        let found = made(db, 1, args).await;

        let mut expected = approval(1, args);
        expected.version = 1;
        expected.waiting = true;
        expected.held = 1;
        assert_eq!(found, expected);
        assert!(found.call.is_intact());

        let read = ToolCall::read_as(Method::ReadResource, "images", r#"{"uri":"a:b"}"#).unwrap();
        let read = Approval { call: read, ..approval(2, "{}") };
        db.store.approvals().submit(submission(read.clone()), T0).await.unwrap();
        assert_eq!(db.store.approvals().find(&id(2), T0).await.unwrap().unwrap().call, read.call);
    })
    .await;
}

#[tokio::test]
async fn an_identical_call_joins_the_open_approval_and_others_do_not() {
    on_each(async |db: &Database| {
        made(db, 1, r#"{"a":1}"#).await;

        let same = db
            .store
            .approvals()
            .submit(submission(approval(2, r#"{ "a": 1 }"#)), T0)
            .await
            .unwrap();
        let other =
            db.store.approvals().submit(submission(approval(3, r#"{"a":2}"#)), T0).await.unwrap();
        let mut stranger = approval(4, r#"{"a":1}"#);
        stranger.agent = "other".to_owned();
        let foreign = db.store.approvals().submit(submission(stranger), T0).await.unwrap();

        assert!(
            matches!(same, Submitted::Attached { approval, held: true } if approval.id == id(1))
        );
        assert!(matches!(other, Submitted::Created { .. }));
        assert!(matches!(foreign, Submitted::Created { .. }));
        assert_eq!(db.store.holds().attached(&id(1), T0).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_end_is_owed_once_then_the_call_asks_anew_and_says_when_it_ran() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        let ended = completed(db, 1, 5).await;
        assert!(ended.owed);

        let first =
            db.store.approvals().submit(submission(approval(2, "{}")), at(6)).await.unwrap();
        let again =
            db.store.approvals().submit(submission(approval(3, "{}")), at(6)).await.unwrap();
        assert!(matches!(again, Submitted::Ended(_)), "not handed over, so owed still");
        assert!(db.store.approvals().take_end(&id(1), ended.end_told(at(6))).await.unwrap());
        let second =
            db.store.approvals().submit(submission(approval(3, "{}")), at(7)).await.unwrap();

        let Submitted::Ended(told) = first else { panic!("{first:?}") };
        assert_eq!(
            (told.id, told.state, told.outcome),
            (id(1), State::Completed, Some(result("done")))
        );
        let Submitted::Created { approval, .. } = second else { panic!("{second:?}") };
        assert_eq!(approval.ran_before, Some(at(5)));
    })
    .await;
}

#[tokio::test]
async fn an_end_can_be_taken_once() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        let told = completed(db, 1, 5).await.end_told(at(6));

        assert!(db.store.approvals().take_end(&id(1), told.clone()).await.unwrap());
        assert!(!db.store.approvals().take_end(&id(1), told).await.unwrap());
        assert!(
            db.store
                .approvals()
                .find_identical("ci", approval(9, "{}").digest(), T0, at(9))
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_older_than_the_retention_is_no_longer_owed() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        completed(db, 1, 5).await;
        let mut late = submission(approval(2, "{}"));
        late.owed_since = at(6);

        let submitted = db.store.approvals().submit(late, at(90_000)).await.unwrap();

        let Submitted::Created { approval, .. } = submitted else { panic!("{submitted:?}") };
        assert_eq!(approval.ran_before, None);
    })
    .await;
}

#[tokio::test]
async fn a_rejection_is_repeated_until_its_cooldown_is_over() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        decided(db, 1, Choice::Reject, 10).await;

        for (n, second) in [(2, 11), (3, 300), (4, 609)] {
            let again = db
                .store
                .approvals()
                .submit(submission(approval(n, "{}")), at(second))
                .await
                .unwrap();
            let Submitted::Ended(ended) = again else { panic!("{again:?}") };
            assert_eq!(ended.state, State::Rejected);
            db.store.approvals().take_end(&id(1), ended.end_told(at(second))).await.unwrap();
        }
        let after =
            db.store.approvals().submit(submission(approval(5, "{}")), at(610)).await.unwrap();
        assert!(matches!(after, Submitted::Created { .. }));
    })
    .await;
}

#[tokio::test]
async fn a_decision_at_its_expiry_finds_no_row() {
    on_each(async |db: &Database| {
        let found = made(db, 1, "{}").await;
        let mut in_time = found
            .clone()
            .decide(says("ben", Choice::Approve, at(899)), Role::Reviewer, None)
            .unwrap();
        // As if the clock had moved on between the check and the statement.
        in_time.not_expired_at = Some(at(900));

        let late = db.store.approvals().apply(in_time, Vec::new(), at(900)).await;

        assert!(matches!(late, Err(StoreError::Conflict(now)) if now.state == State::Pending));
        assert!(found.decide(says("ben", Choice::Approve, at(899)), Role::Reviewer, None).is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_claim_at_its_deadline_finds_no_row() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        let approved = decided(db, 1, Choice::Approve, 10).await;
        let mut claim = approved.clone().claim("node-a", at(609)).unwrap();
        claim.claimable_at = Some(at(610));

        let late = db.store.approvals().apply(claim, Vec::new(), at(610)).await;
        let in_time = approved.claim("node-a", at(609)).unwrap();

        assert!(matches!(late, Err(StoreError::Conflict(now)) if now.state == State::Approved));
        assert_eq!(
            db.store.approvals().apply(in_time, Vec::new(), at(609)).await.unwrap().state,
            State::Running
        );
    })
    .await;
}

#[tokio::test]
async fn a_change_commits_with_its_messages_or_not_at_all() {
    on_each(async |db: &Database| {
        let found = made(db, 1, "{}").await;
        let yes = found
            .clone()
            .decide(says("ben", Choice::Approve, at(1)), Role::Reviewer, None)
            .unwrap();
        let no = found.decide(says("dora", Choice::Reject, at(1)), Role::Reviewer, None).unwrap();
        let before = db.store.audit().unsealed().await.unwrap();

        db.store.approvals().apply(yes, vec![delivery("dlv_1", Some(id(1)))], at(1)).await.unwrap();
        db.store
            .approvals()
            .apply(no, vec![delivery("dlv_2", Some(id(1)))], at(1))
            .await
            .unwrap_err();

        let (notifier, node) = ("mail".to_owned(), "node-a".to_owned());
        let lane = placet::store::Lane { notifier, node, busy: Vec::new() };
        let due = db.store.outbox().claim(&lane, at(2), at(60), 10).await.unwrap();
        assert_eq!(due.iter().map(|d| d.new.id.as_str()).collect::<Vec<_>>(), ["dlv_1"]);
        assert_eq!(db.store.audit().unsealed().await.unwrap(), before + 2);
    })
    .await;
}

#[tokio::test]
async fn waiting_follows_holds_and_the_leases_of_their_nodes() {
    on_each(async |db: &Database| {
        db.store.nodes().renew("node-a", T0, at(15)).await.unwrap();
        db.store.approvals().submit(submission(approval(1, "{}")), T0).await.unwrap();
        let waiting = async |second| {
            db.store.approvals().find(&id(1), at(second)).await.unwrap().unwrap().waiting
        };

        assert!(waiting(14).await);
        assert!(!waiting(15).await);
        db.store.nodes().renew("node-a", at(14), at(29)).await.unwrap();
        assert!(waiting(28).await);
        assert_eq!(db.store.approvals().stats(at(28)).await.unwrap().held, 1);
        assert_eq!(db.store.holds().detach("hld_1", at(28)).await.unwrap(), 0);
        assert!(!waiting(28).await);
        assert_eq!(db.store.holds().detach("hld_1", at(28)).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_node_held_does_not_count_and_an_ended_node_holds_nothing() {
    on_each(async |db: &Database| {
        db.store.nodes().renew("node-a", T0, at(15)).await.unwrap();
        db.store.nodes().renew("node-b", T0, at(100)).await.unwrap();
        db.store.approvals().submit(submission(approval(1, "{}")), T0).await.unwrap();
        for n in [2, 3] {
            let mut hold = submission(approval(n, "{}")).hold;
            hold.node = "node-b".to_owned();
            assert!(db.store.holds().attach(&id(1), &hold, 10, T0).await.unwrap());
        }

        let left = db.store.holds().detach("hld_2", at(20)).await.unwrap();
        db.store.nodes().end("node-b", at(21)).await.unwrap();

        assert_eq!(left, 1);
        assert_eq!(db.store.holds().attached(&id(1), at(21)).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn reconcilers_find_what_is_overdue_orphaned_or_unattended() {
    on_each(async |db: &Database| {
        db.store.nodes().renew("node-a", T0, at(15)).await.unwrap();
        for n in 1..=4 {
            let mut new = approval(n, &format!(r#"{{"a":{n}}}"#));
            if n == 3 {
                new.terms.unattended = placet::domain::approval::Unattended::Run;
            }
            db.store.approvals().submit(submission(new), T0).await.unwrap();
        }
        for n in [2, 3, 4] {
            decided(db, n, Choice::Approve, 10).await;
        }
        let four = db.store.approvals().find(&id(4), at(10)).await.unwrap().unwrap();
        db.store
            .approvals()
            .apply(four.claim("node-a", at(10)).unwrap(), Vec::new(), at(10))
            .await
            .unwrap();

        assert!(db.store.due().expiries(at(609), 10).await.unwrap().is_empty());
        assert_eq!(db.store.due().expiries(at(900), 10).await.unwrap().len(), 3);
        assert_eq!(db.store.due().expiries(at(610), 10).await.unwrap().len(), 2);
        assert!(db.store.due().orphaned("other", at(14), 10).await.unwrap().is_empty());
        assert_eq!(db.store.due().orphaned("other", at(15), 10).await.unwrap(), [id(4)]);
        let due = db.store.due().unattended(at(609), 10).await.unwrap();
        assert_eq!(due.iter().map(|one| &one.id).collect::<Vec<_>>(), [&id(3)]);
        assert!(db.store.due().unattended(at(610), 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn lists_filter_page_and_hide_what_is_sensitive() {
    on_each(async |db: &Database| {
        for n in 1..=4 {
            let mut new = approval(n, &format!(r#"{{"a":{n}}}"#));
            new.terms.sensitive = n == 4;
            db.store.approvals().submit(submission(new), T0).await.unwrap();
        }
        decided(db, 2, Choice::Reject, 5).await;
        let list = async |filter: Filter| {
            let filter =
                Filter { limit: if filter.limit == 0 { 10 } else { filter.limit }, ..filter };
            let found = db.store.approvals().list(&filter, at(6)).await.unwrap();
            found.into_iter().map(|a| a.id).collect::<Vec<_>>()
        };
        let seen_by =
            |name: &str| Filter { visible_to: Some(name.to_owned()), ..Filter::default() };

        assert_eq!(list(Filter::default()).await, [id(4), id(3), id(2), id(1)]);
        assert_eq!(
            list(Filter { limit: 2, before: Some(id(4).to_string()), ..Filter::default() }).await,
            [id(3), id(2)]
        );
        assert_eq!(
            list(Filter { states: vec![State::Rejected, State::Running], ..Filter::default() })
                .await,
            [id(2)]
        );
        assert_eq!(list(Filter { tool: Some("other".to_owned()), ..Filter::default() }).await, []);
        assert_eq!(list(Filter { changed_since: Some(at(5)), ..Filter::default() }).await, [id(2)]);
        assert_eq!(list(seen_by("ben")).await.len(), 4);
        assert_eq!(list(seen_by("ana")).await.len(), 4, "the agent's owner sees it");
        assert_eq!(list(seen_by("be")).await.len(), 3);
        assert_eq!(list(seen_by("%")).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn an_unsettled_call_is_joined_and_a_settled_one_told_once() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        let approved = decided(db, 1, Choice::Approve, 1).await;
        let running = db.store.approvals().apply(approved.claim("n", at(1)).unwrap(), Vec::new(), at(1)).await.unwrap();
        let lost = db.store.approvals().apply(running.lose("gone", at(2)).unwrap(), Vec::new(), at(2)).await.unwrap();

        let open = db.store.approvals().submit(submission(approval(2, "{}")), at(3)).await.unwrap();
        let settled = lost.settle(false, Person::new("dora", Role::Admin), "not done", at(90_000)).unwrap();
        db.store.approvals().apply(settled, Vec::new(), at(90_000)).await.unwrap();
        let mut late = submission(approval(3, "{}"));
        late.owed_since = at(3_600);
        let told = db.store.approvals().submit(late, at(90_001)).await.unwrap();
        let Submitted::Ended(ended) = &told else { panic!("{told:?}") };
        assert!(db.store.approvals().take_end(&ended.id, ended.end_told(at(90_001))).await.unwrap());
        let anew = db.store.approvals().submit(submission(approval(4, "{}")), at(90_002)).await.unwrap();

        assert!(matches!(open, Submitted::Attached { approval, .. } if approval.state == State::Indeterminate));
        assert!(matches!(told, Submitted::Ended(a) if a.settled.as_ref().is_some_and(|s| !s.done)));
        assert!(matches!(anew, Submitted::Created { .. }));
    })
    .await;
}

#[tokio::test]
async fn purging_keeps_what_is_open_unsettled_or_young() {
    on_each(async |db: &Database| {
        for n in 1..=4 {
            made(db, n, &format!(r#"{{"a":{n}}}"#)).await;
        }
        decided(db, 1, Choice::Reject, 5).await;
        decided(db, 2, Choice::Reject, 500).await;
        let three = decided(db, 3, Choice::Approve, 5).await;
        let three = db
            .store
            .approvals()
            .apply(three.claim("n", at(5)).unwrap(), Vec::new(), at(5))
            .await
            .unwrap();
        db.store
            .approvals()
            .apply(three.lose("gone", at(5)).unwrap(), Vec::new(), at(5))
            .await
            .unwrap();
        let records = db.store.audit().unsealed().await.unwrap();

        db.store.purge(at(1_000), old(at(100))).await.unwrap();

        let left = db
            .store
            .approvals()
            .list(&Filter { limit: 10, ..Filter::default() }, at(1_000))
            .await
            .unwrap();
        assert_eq!(left.into_iter().map(|a| a.id).collect::<Vec<_>>(), [id(4), id(3), id(2)]);
        assert_eq!(db.store.audit().unsealed().await.unwrap(), records);
    })
    .await;
}

#[tokio::test]
async fn nul_and_odd_unicode_in_free_text_are_stored_visibly() {
    on_each(async |db: &Database| {
        let mut odd = approval(1, "{}");
        odd.client = Some("x\0y \u{202e}\u{10ffff}👩‍🚒".to_owned());
        db.store.approvals().submit(submission(odd), T0).await.unwrap();
        let found = db.store.approvals().find(&id(1), T0).await.unwrap().unwrap();
        assert_eq!(found.client.as_deref(), Some("x\u{fffd}y \u{202e}\u{10ffff}👩‍🚒"));

        let mut decision = says("ben", Choice::Reject, at(1));
        decision.reason = "a\0b\u{200d}\"\\'; drop table approvals; --".to_owned();
        let reason = decision.reason.clone();
        let after = found.decide(decision, Role::Reviewer, None).unwrap();
        let after = db.store.approvals().apply(after, Vec::new(), at(1)).await.unwrap();

        assert_eq!(after.decisions[0].reason, reason);
    })
    .await;
}

#[tokio::test]
async fn figures_count_states_and_know_the_oldest() {
    on_each(async |db: &Database| {
        made(db, 1, r#"{"a":1}"#).await;
        made(db, 2, r#"{"a":2}"#).await;
        decided(db, 2, Choice::Reject, 5).await;

        let mut stats = db.store.approvals().stats(at(6)).await.unwrap();

        stats.by_state.sort();
        assert_eq!(stats.by_state, [("pending".to_owned(), 1), ("rejected".to_owned(), 1)]);
        assert_eq!(stats.oldest_pending, Some(T0));
    })
    .await;
}

#[tokio::test]
async fn an_outcome_and_the_end_of_the_hold_it_answers_are_one_transaction() {
    on_each(async |db: &Database| {
        made(db, 1, "{}").await;
        let approved = decided(db, 1, Choice::Approve, 1).await;
        let claim = approved.claim("node-a", at(2)).unwrap();
        let running = db.store.approvals().apply(claim, Vec::new(), at(2)).await.unwrap();
        let end = |from: &Approval| {
            let end = from.clone().complete(result("done"), at(3)).unwrap();
            end.detaching(Some("hld_1".to_owned()))
        };
        let held = async || db.store.holds().of_node("node-a").await.unwrap();
        let stale = Approval { version: running.version - 1, ..running.clone() };

        let lost = db.store.approvals().apply(end(&stale), Vec::new(), at(3)).await;
        assert!(matches!(lost, Err(StoreError::Conflict(_))));
        assert_eq!(held().await, ["hld_1"], "neither was stored");

        let after = db.store.approvals().apply(end(&running), Vec::new(), at(3)).await.unwrap();
        assert_eq!((after.state, after.held, after.waiting), (State::Completed, 0, false));
        assert!(held().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_change_returns_what_a_reading_finds() {
    on_each(async |db: &Database| {
        let approval = made(db, 1, "{}").await;
        let approvals = db.store.approvals();
        let same = async |transition: Transition, second: u64| {
            let after = approvals.apply(transition, Vec::new(), at(second)).await.unwrap();
            let found = approvals.find(&id(1), at(second)).await.unwrap().unwrap();
            assert_eq!(after, found);
            after
        };
        let yes = says("ben", Choice::Approve, at(1));

        let approved = same(approval.decide(yes, Role::Reviewer, None).unwrap(), 1).await;
        let running = same(approved.claim("node-a", at(2)).unwrap(), 2).await;
        let again = same(running.release("no connection", at(3)).unwrap(), 3).await;
        assert!(again.waiting && again.held == 1);
        let running = same(again.claim("node-a", at(4)).unwrap(), 4).await;
        let lost = same(running.lose("gone", at(5)).unwrap(), 5).await;
        let late = lost.answer_late(result("done"), at(6)).unwrap();
        let ended = same(late.detaching(Some("hld_1".to_owned())), 6).await;
        assert!(!ended.waiting && ended.held == 0);
    })
    .await;
}
