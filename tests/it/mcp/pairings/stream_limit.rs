//! Bounds on what clients want to hear of.

use reqwest::Method;
use serde_json::json;

use super::{Server, clients, done, ear};
use crate::support::placet::{ANN, BOB, Placet, Stream, got};
use crate::support::until;

async fn bounded(server: &Server) -> Placet {
    let lines = "[server]\nmax_subscriptions = 2\nmax_streams_per_agent = 2";
    Placet::before(&server.fake.url).with(lines).start().await
}

#[tokio::test]
async fn a_session_and_a_stream_hear_of_no_more_resources_than_configured() {
    let server = Server::start(false, done).await;
    let placet = bounded(&server).await;
    let [old, new] = clients(&placet).await;

    let stream = ear(&old, &server, "1", &["a:1", "a:2"]).await;
    let params = json!({"uri": "a:3"}).to_string();
    let refused = got(old.request("2", "resources/subscribe", &params)).await;
    assert_eq!(refused.error(), -32602);
    assert!(refused.body.contains("server.max_subscriptions"), "{refused:?}");
    // What it has it may ask for again.
    let params = json!({"uri": "a:2"}).to_string();
    let again = got(old.request("3", "resources/subscribe", &params)).await;
    assert_eq!(again.json()["result"], json!({}));

    let wanted = json!({"notifications": {"resourceSubscriptions": ["b:1", "b:2", "b:3"]}});
    let request = new.request("4", "subscriptions/listen", &wanted.to_string());
    let ack = Stream::open(request).await.message().await.unwrap();
    let honoured = &ack["params"]["notifications"];
    assert_eq!(*honoured, json!({"resourceSubscriptions": ["b:1", "b:2"]}));
    drop(stream);
    placet.end().await;
}

#[tokio::test]
async fn an_agent_has_no_more_streams_open_than_configured() {
    let server = Server::start(false, done).await;
    let placet = bounded(&server).await;
    let [old, new] = clients(&placet).await;
    let wanted = json!({"notifications": {}}).to_string();
    let listen = |id: &str| new.request(id, "subscriptions/listen", &wanted);

    let first = Stream::open(old.http(Method::GET)).await;
    let second = Stream::open(listen("1")).await;
    let refused = got(listen("\"x\"")).await;
    assert_eq!((refused.status, &refused.json()["id"]), (429, &json!("x")));
    assert_eq!(got(old.http(Method::GET)).await.status, 429);
    let other = placet.modern(BOB).request("1", "subscriptions/listen", &wanted);
    drop(Stream::open(other).await);

    drop((first, second));
    until("there is room again", async || listen("2").send().await.unwrap().status() == 200).await;
    assert_eq!(placet.modern(ANN).url, new.url);
    placet.end().await;
}
