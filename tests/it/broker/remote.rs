//! Servers that answer an approved call with a task of their own.

use std::sync::{Arc, Mutex};

use placet::broker::call::submit::Submission;
use placet::broker::call::tasks::{Owner, View};
use placet::domain::approval::State;
use placet::domain::task::{Form, Status};
use placet::upstream::Request;

use crate::support::fake_upstream::Does;
use crate::support::until;
use crate::support::world::{World, word};

const MADE: &str = r#"{"resultType":"task","taskId":"t-1","status":"working","pollIntervalMs":1}"#;
const DONE: &str = r#"{"resultType":"complete","taskId":"t-1","status":"completed","result":{"content":[],"said":"at last"}}"#;
const ASKS: &str = r#"{"resultType":"complete","taskId":"t-1","status":"input_required","pollIntervalMs":1,"inputRequests":{"q":{"method":"elicitation/create"}}}"#;

/// A server that makes a task of each call and then tells of it what is set here.
fn serves(world: &World, made: &'static str) -> Arc<Mutex<String>> {
    let state = Arc::new(Mutex::new(made.to_owned()));
    let told = Arc::clone(&state);
    world.upstream.answers_by(move |request: &Request| {
        Does::Answers(match request.method.as_str() {
            "tools/call" => made.to_owned(),
            "tasks/get" => told.lock().unwrap().clone(),
            _ => "{}".to_owned(),
        })
    });
    state
}

fn owner(world: &World, form: Form) -> Owner {
    let agent = world.config.agent("ci").unwrap().clone();
    Owner { agent, upstream: "images".to_owned(), form }
}

async fn running(world: &World, form: Form) -> View {
    let Submission::Held(held) = world.submit("{}").await else { panic!("not held") };
    let view = world.broker.make_task(*held, form).await.unwrap_or_else(|_| panic!("no task"));
    let id = view.approval.as_ref().unwrap().id.clone();
    world.approve(&id).await;
    look(world, &view).await;
    world.becomes(&id, State::Running).await;
    view
}

async fn look(world: &World, view: &View) -> View {
    let owner = owner(world, view.task.form);
    world.broker.look_at_task(&owner, view.task.id.as_str()).await.unwrap()
}

async fn told(world: &World, view: &View) -> String {
    let end = world.broker.end_of_task(&look(world, view).await).await;
    word(&end.expect("it has ended").0)
}

fn methods(world: &World) -> Vec<String> {
    world.upstream.sent().into_iter().map(|r| r.method).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_task_is_followed_to_its_end_under_the_same_claim() {
    let world = World::new().await;
    let state = serves(&world, MADE);
    let task = running(&world, Form::Extension).await;
    let id = task.approval.as_ref().unwrap().id.clone();
    world.upstream.arrived(3).await;
    assert_eq!(look(&world, &task).await.status, Status::Working);

    *state.lock().unwrap() = DONE.to_owned();
    world.becomes(&id, State::Completed).await;

    assert!(told(&world, &task).await.contains("at last"));
    let sent = world.upstream.sent();
    assert_eq!(sent.iter().filter(|r| r.method == "tools/call").count(), 1);
    assert!(sent[0].capabilities.as_ref().unwrap().contains("io.modelcontextprotocol/tasks"));
    assert_eq!(sent[1].params.as_deref(), Some(r#"{"taskId":"t-1"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_gets_the_end_of_a_servers_task_and_no_handle() {
    let world = World::new().await;
    let state = serves(&world, r#"{"task":{"taskId":"t-1","status":"working","pollInterval":1}}"#);
    *state.lock().unwrap() = r#"{"taskId":"t-1","status":"completed"}"#.to_owned();
    let holding = world.call("{}").await;
    world.approve(&holding.approval.id).await;

    // Of the core: the end is fetched.
    assert_eq!(
        holding.word().await.split(',').next(),
        Some(r#"{"_meta":{"io.placet/decision":{"code":"approved""#)
    );
    assert_eq!(methods(&world), ["tools/call", "tasks/get", "tasks/result"]);
    assert_eq!(world.upstream.sent()[0].capabilities, None, "nobody follows it as a task");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_servers_task_asks_is_answered_by_whichever_broker_hears_it() {
    let world = World::new().await;
    let state = serves(&world, MADE);
    let task = running(&world, Form::Extension).await;
    *state.lock().unwrap() = ASKS.to_owned();
    until("it asks", async || look(&world, &task).await.status == Status::InputRequired).await;
    let asks = look(&world, &task).await.input_requests.unwrap();
    assert!(asks.contains("elicitation/create"), "{asks}");

    let other = world.another("node-b").await;
    let owner = owner(&world, Form::Extension);
    other.answer_task(&owner, task.task.id.as_str(), r#"{"q":{"action":"accept"}}"#).await.unwrap();
    until("the answer arrives", async || methods(&world).iter().any(|m| m == "tasks/update")).await;
    *state.lock().unwrap() = DONE.to_owned();
    world.becomes(&task.approval.as_ref().unwrap().id, State::Completed).await;

    let sent = world.upstream.sent();
    let update: Vec<_> = sent.iter().filter(|r| r.method == "tasks/update").collect();
    let expected = r#"{"taskId":"t-1","inputResponses":{"q":{"action":"accept"}}}"#;
    assert_eq!((update.len(), update[0].params.as_deref()), (1, Some(expected)));
    assert!(told(&world, &task).await.contains("at last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_a_task_ends_that_of_the_server_and_a_lost_one_is_unknown() {
    let world = World::new().await;
    let state = serves(&world, MADE);
    let task = running(&world, Form::Extension).await;
    let id = task.approval.as_ref().unwrap().id.clone();
    world.upstream.arrived(2).await;

    world.broker.end_task(&owner(&world, Form::Extension), task.task.id.as_str()).await.unwrap();
    until("the server is told", async || methods(&world).iter().any(|m| m == "tasks/cancel")).await;
    *state.lock().unwrap() = r#"{"taskId":"t-1","status":"cancelled"}"#.to_owned();
    world.becomes(&id, State::Completed).await;
    assert!(told(&world, &task).await.contains("-32603"));

    let world = World::new().await;
    world.upstream.answers_by(|request| match request.method.as_str() {
        "tools/call" => Does::Answers(MADE.to_owned()),
        _ => Does::Errs(r#"{"code":-32602,"message":"who?"}"#.to_owned()),
    });
    let task = running(&world, Form::Extension).await;
    world.becomes(&task.approval.as_ref().unwrap().id, State::Indeterminate).await;
    assert_eq!(told(&world, &task).await, "outcome_unknown");
}
