//! The border between the eras, in all four pairings.

use serde_json::{Value, json};

use crate::support::fake_http::{self, Fake};
use crate::support::placet::{ANN, Placet, TOOLS, got};

use crate::mcp::{legacy, modern};

const PLAIN: &str = r#"{"content":[{"type":"text","text":"x"}],"ttlMs":1.50}"#;
const TYPED: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"x"}]}"#;

async fn servers() -> [(bool, Fake); 2] {
    [
        (false, legacy(|_| fake_http::result(PLAIN)).await),
        (true, modern(|_| fake_http::result(TYPED)).await),
    ]
}

#[tokio::test]
async fn lists_and_calls_are_what_the_clients_era_demands() {
    for (server_is_modern, fake) in servers().await {
        let placet = Placet::start(&fake).await;
        for (client_is_modern, agent) in [false, true].into_iter().zip(placet.both(ANN).await) {
            let list = got(agent.request("1", "tools/list", "{}")).await.json()["result"].clone();
            let call = got(agent.call("2", "open", "{}")).await.json()["result"].clone();
            let denied = got(agent.call("3", "denied", "{}")).await.json()["result"].clone();

            assert_eq!(list["tools"].as_array().unwrap().len(), TOOLS.len() - 1);
            assert_eq!(call["content"][0]["text"], "x");
            assert_eq!(denied["isError"], true);
            let of_type = |result: &Value| result.get("resultType").cloned();
            let expected = client_is_modern.then(|| json!("complete"));
            for result in [&list, &call, &denied] {
                assert_eq!(of_type(result), expected, "{server_is_modern}: {result}");
            }
            let age = match (client_is_modern, server_is_modern) {
                (false, _) => Value::Null,
                (true, true) => json!(5),
                (true, false) => json!(0),
            };
            assert_eq!(list["ttlMs"], age);
            // Outside of lists it is the tool's own member.
            assert_eq!(call["ttlMs"].is_null(), server_is_modern);
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn approved_calls_are_translated_between_eras_too() {
    for (_, fake) in servers().await {
        let placet = Placet::start(&fake).await;
        for (client_is_modern, agent) in [false, true].into_iter().zip(placet.both(ANN).await) {
            let call = tokio::spawn(got(agent.call("2", "gated", "{}")));
            placet.decide("approve").await;
            let result = call.await.unwrap().json()["result"].clone();

            assert_eq!(result["content"][0]["text"], "x");
            assert_eq!(result["_meta"]["io.placet/decision"]["code"], "approved");
            assert_eq!(result.get("resultType").is_some(), client_is_modern, "{result}");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn errors_keep_their_code_where_the_clients_era_has_it() {
    for (code, to_legacy_from_modern, to_modern_from_legacy) in
        [(-32002, -32002, -32602), (-32021, -32603, -32603), (-31000, -31000, -31000)]
    {
        let fake = modern(move |_| fake_http::error(200, code)).await;
        let placet = Placet::start(&fake).await;
        let answer = got(placet.legacy(ANN).await.call("1", "open", "{}")).await;
        assert_eq!(answer.error(), to_legacy_from_modern);
        placet.end().await;

        let fake = legacy(move |_| fake_http::error(200, code)).await;
        let placet = Placet::start(&fake).await;
        let answer = got(placet.modern(ANN).call("1", "open", "{}")).await;
        assert_eq!(answer.error(), to_modern_from_legacy);
        placet.end().await;
    }
}

#[tokio::test]
async fn a_legacy_client_never_gets_a_request_for_input() {
    let asks = r#"{"resultType":"input_required","inputRequests":{},"requestState":"s"}"#;
    let fake = modern(move |_| fake_http::result(asks)).await;
    let placet = Placet::start(&fake).await;
    let [old, new] = placet.both(ANN).await;

    assert_eq!(got(old.call("1", "open", "{}")).await.error(), -32603);
    let call = tokio::spawn(got(old.call("2", "gated", "{}")));
    placet.decide("approve").await;
    assert_eq!(call.await.unwrap().error(), -32603);
    let passed = got(new.call("3", "open", "{}")).await.json()["result"].clone();
    assert_eq!(passed["requestState"], "s");
    placet.end().await;
}
