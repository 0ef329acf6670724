//! The read of a resource waits, is claimed and is told as the call of a tool.

use placet::broker::call::asking::Asking;
use placet::domain::approval::{Choice, State};
use placet::domain::call::{Method, ToolCall};

use crate::support::fake_upstream::Does;
use crate::support::world::{World, held};

const GATED: &str = r#"{"version":"1","resources":{"rules":{"vault://*":{"action":"require_approval",
    "reason":"It is a key.","approval":{"reviewers":["ben","dora"]}}}}}"#;

async fn world() -> World {
    let world = World::new().await;
    world.policy(GATED);
    world
}

fn reading(world: &World, params: &str) -> Asking {
    let call = ToolCall::read_as(Method::ReadResource, "images", params).unwrap();
    Asking { call, ..world.asking(r#"{"name":"unused"}"#) }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_identical_reads_are_one_approval_and_one_execution() {
    let world = world().await;
    let params = r#"{"uri":"vault://a", "range": 1.00}"#;
    let first = held(world.broker.submit(reading(&world, params)).await);
    let again = r#"{"range":1.00,"uri":"vault:\/\/a"}"#;
    let second = held(world.broker.submit(reading(&world, again)).await);
    let id = first.approval.id.clone();
    assert_eq!(second.approval.id, id);
    let stored = world.stored(&id).await;
    assert_eq!(
        (stored.call.method, stored.call.tool.as_str()),
        (Method::ReadResource, "vault://a")
    );
    assert_eq!(stored.rule, "/resources/rules/vault:~1~1*");

    world.approve(&id).await;

    for holding in [first, second] {
        let word = holding.word().await;
        assert!(
            word.contains(r#""said":"done""#) && word.contains(r#""code":"approved""#),
            "{word}"
        );
    }
    assert_eq!(world.upstream.calls(), 1);
    assert_eq!(world.upstream.last_params(), r#"{"uri":"vault://a", "range": 1.00}"#);
    assert_eq!(world.upstream.last_method(), "resources/read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_needs_no_list_of_tools_and_is_looked_at_again_at_the_claim() {
    let world = world().await;
    world.upstream.forgets_its_list(false);
    let holding = held(world.broker.submit(reading(&world, r#"{"uri":"vault://a"}"#)).await);
    world.approve(&holding.approval.id).await;
    assert!(holding.word().await.contains("done"));

    let holding = held(world.broker.submit(reading(&world, r#"{"uri":"vault://b"}"#)).await);
    let id = holding.approval.id.clone();
    world.policy(r#"{"version":"1","resources":{"hide":["vault://*"]}}"#);
    world.approve(&id).await;

    assert_eq!(holding.word().await, "approval_cancelled");
    let reason = world.stored(&id).await.end_reason.unwrap();
    assert!(reason.contains("the resource is hidden now"), "{reason}");
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_and_a_prompt_of_one_name_are_two_calls() {
    let world = world().await;
    world.policy(
        r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval"}},
        "prompts":{"rules":{"delete_image_set":{"action":"require_approval"}}}}"#,
    );
    let params = r#"{"name":"delete_image_set","arguments":{"a":"b"}}"#;
    let tool = held(world.broker.submit(world.asking(params)).await);
    let call = ToolCall::read_as(Method::GetPrompt, "images", params).unwrap();
    let prompt = held(world.broker.submit(Asking { call, ..world.asking(params) }).await);
    assert_ne!(tool.approval.id, prompt.approval.id);

    world.approve(&prompt.approval.id).await;

    assert!(prompt.word().await.contains("done"));
    assert_eq!(world.upstream.last_method(), "prompts/get");
    assert_eq!(world.stored(&tool.approval.id).await.state, State::Pending);
    world.says("ben", Choice::Reject, &tool.approval.id).await.unwrap();
    assert_eq!(tool.word().await, "approval_rejected");
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_was_lost_is_never_sent_again() {
    let world = world().await;
    world.upstream.next([Does::Breaks]);
    let read = || reading(&world, r#"{"uri":"vault://a"}"#);
    let holding = held(world.broker.submit(read()).await);
    let id = holding.approval.id.clone();
    world.approve(&id).await;

    assert_eq!(holding.word().await, "outcome_unknown");
    assert_eq!(world.stored(&id).await.state, State::Indeterminate);
    let again = held(world.broker.submit(read()).await);
    assert_eq!(again.approval.id, id);
    assert_eq!(again.word().await, "outcome_unknown");
    assert_eq!(world.upstream.calls(), 1);
}
