//! Answers that come after a call was given up: they set the record straight for everyone who was
//! told otherwise.

use placet::domain::approval::{ApprovalId, Choice, State};

use crate::support::approvals::due;
use crate::support::fake_upstream::Does;
use crate::support::until;
use crate::support::world::World;

/// A call that ran out of time, and that an admin settled as not done.
async fn settled_as_not_done(world: &World) -> ApprovalId {
    world.upstream.next([Does::AnswersLate]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    assert_eq!(holding.word().await, "outcome_unknown");
    let dora = world.config.reviewer("dora").unwrap();
    world.broker.settle(&id, dora, false, "I looked").await.unwrap();
    assert_eq!(world.answered("{}").await, "outcome_settled");
    world.pass(1);
    id
}

/// The answer comes.
async fn answers(world: &World, id: &ApprovalId) {
    world.upstream.goes_on();
    until("the late answer", async || world.stored(id).await.outcome.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_told_though_a_later_approval_of_the_identical_call_was_rejected() {
    let world = World::new().await;
    let id = settled_as_not_done(&world).await;
    let anew = world.call("{}").await;
    world.says("ben", Choice::Reject, &anew.approval.id).await.unwrap();
    assert_eq!(anew.word().await, "approval_rejected");

    answers(&world, &id).await;

    let settled = world.stored(&id).await.settled.unwrap();
    assert_eq!((settled.by.as_str(), settled.done), ("upstream", true));
    assert!(world.answered("{}").await.contains("late"));
    assert_eq!(world.answered("{}").await, "approval_rejected", "told once; the cooldown goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn reviewers_of_a_further_call_see_that_it_ran_whenever_the_answer_came() {
    let world = World::new().await;
    let id = settled_as_not_done(&world).await;
    let anew = world.call("{}").await;
    assert_eq!(world.stored(&anew.approval.id).await.ran_before, None);

    answers(&world, &id).await;

    assert!(world.stored(&anew.approval.id).await.ran_before.is_some());
    world.says("ben", Choice::Reject, &anew.approval.id).await.unwrap();
    assert_eq!(anew.word().await, "approval_rejected");
    assert!(world.answered("{}").await.contains("late"));
    world.pass(601);
    let further = world.call("{}").await;
    assert!(further.approval.ran_before.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_who_was_told_that_nobody_knows_is_told_of_the_late_answer() {
    let world = World::with(
        r#"
[[notifiers]]
name = "hook"
kind = "webhook"
url = "https://hooks.example.org/"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

[[notifiers]]
name = "mail"
kind = "email"
smtp_url = "smtp://127.0.0.1:1"
from = "Placet <placet@example.org>"

[[reviewers]]
name = "ben"
email = "ben@example.org"

[[reviewers]]
name = "dora"
email = "dora@example.org"
"#,
    )
    .await;
    world.upstream.next([Does::AnswersLate]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    holding.ended().await;

    answers(&world, &id).await;

    let now = world.broker.now();
    let all = due(&world.db.store, &["hook", "mail"], now).await;
    let told = |topic: &str| {
        let mut to: Vec<_> = all
            .iter()
            .filter(|d| d.new.topic == topic)
            .map(|d| (d.new.notifier.clone(), d.new.recipient.clone()))
            .collect();
        to.sort();
        to
    };
    assert_eq!(told("indeterminate").len(), 3, "the webhook, who approved, the admin");
    assert_eq!(told("completed"), told("indeterminate"));
    let hook = all.iter().find(|d| d.new.topic == "completed" && d.new.recipient.is_none());
    let body = hook.unwrap().new.payload.clone().unwrap();
    assert!(body.contains(r#""type":"approval.completed""#), "{body}");
    assert!(body.contains(r#""state":"indeterminate""#) && body.contains(r#""by":"upstream""#));
    assert_eq!(world.stored(&id).await.state, State::Indeterminate);
}
