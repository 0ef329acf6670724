//! Tools that need input and get it with the next try, as servers of the modern era do. In the
//! legacy era the same tools ask for each input while they run.

use serde_json::{Value, json};

use super::ask;
use super::exchange::{Exchange, seal};
use super::tools::text;
use super::wire::{Answer, Fault};

/// Their names, and what they say of themselves.
pub(crate) const TOOLS: [(&str, &str); 10] = [
    ("test_missing_capability", "Needs sampling"),
    ("test_streaming_elicitation", "Reports progress on its stream"),
    ("test_input_required_result_elicitation", "Asks the user"),
    ("test_input_required_result_sampling", "Asks the client's model"),
    ("test_input_required_result_list_roots", "Asks for roots"),
    ("test_input_required_result_request_state", "Asks and keeps a state"),
    ("test_input_required_result_multiple_inputs", "Asks three things at once"),
    ("test_input_required_result_multi_round", "Asks twice"),
    ("test_input_required_result_tampered_state", "Asks and keeps a state nobody may change"),
    ("test_input_required_result_capabilities", "Asks what the client declared"),
];

/// The result that asks.
pub(crate) fn required(requests: Value, state: Option<Value>) -> Value {
    let mut result = json!({"resultType": "input_required", "inputRequests": requests});
    if let Some(state) = state {
        result["requestState"] = json!(seal(&state));
    }
    result
}

/// A form with one field.
pub(crate) fn form(message: &str, field: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "properties": {field: {"type": kind}},
        "required": [field]});
    let params = json!({"mode": "form", "message": message, "requestedSchema": schema});
    json!({"method": "elicitation/create", "params": params})
}

fn sample(prompt: &str) -> Value {
    let content = json!({"type": "text", "text": prompt});
    let params = json!({"messages": [{"role": "user", "content": content}], "maxTokens": 100});
    json!({"method": "sampling/createMessage", "params": params})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

fn field<'a>(answer: Option<&'a Value>, name: &str) -> Option<&'a str> {
    answer?["content"][name].as_str()
}

/// Asks a legacy client for everything that `result` wants; none if it wants nothing.
pub(crate) async fn fulfil(exchange: &mut Exchange, result: &Value) -> Result<bool, Fault> {
    if result["resultType"] != "input_required" {
        return Ok(false);
    }
    let mut given = json!({});
    for (key, request) in result["inputRequests"].as_object().into_iter().flatten() {
        let method = request["method"].as_str().unwrap_or_default();
        let answer = exchange.ask(method, request["params"].clone()).await;
        given[key] = answer.map_err(Fault::params)?;
    }
    exchange.params["inputResponses"] = given;
    exchange.params["requestState"] = result["requestState"].clone();
    Ok(true)
}

/// One answer to a call.
pub(crate) fn call(exchange: &Exchange) -> Answer {
    let given = |key: &str| exchange.response(key);
    let state = exchange.state()?;
    Ok(match exchange.name() {
        "test_missing_capability" => match exchange.declared("sampling") {
            Some(_) => text("The client can sample"),
            // The legacy era has no code for that.
            None if exchange.session.is_some() => ask::failed("The client can't sample"),
            None => return Err(Fault::capability(&json!({"sampling": {}}))),
        },
        "test_input_required_result_elicitation" => match field(given("user_name"), "name") {
            Some(name) => text(format!("Hello, {name}!")),
            None => {
                required(json!({"user_name": form("What is your name?", "name", "string")}), None)
            }
        },
        "test_input_required_result_sampling" => match given("capital_question") {
            Some(answer) => text(format!("Sampling result: {}", answer["content"]["text"])),
            None => required(
                json!({"capital_question": sample("What is the capital of France?")}),
                None,
            ),
        },
        "test_input_required_result_list_roots" => match given("client_roots") {
            Some(answer) => {
                let count = answer["roots"].as_array().map_or(0, Vec::len);
                text(format!("Found {count} roots"))
            }
            None => required(json!({"client_roots": roots()}), None),
        },
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => {
            let confirmed = given("confirm").is_some_and(|c| c["content"]["ok"] == true);
            if confirmed && state["for"] == exchange.name() {
                text("state-ok: the state came back as it was given")
            } else {
                let state = json!({"for": exchange.name(), "nonce": exchange.fixture.next()});
                required(json!({"confirm": form("Please confirm", "ok", "boolean")}), Some(state))
            }
        }
        "test_input_required_result_multiple_inputs" => {
            let all = ["user_name", "greeting", "client_roots"];
            if state["for"] == exchange.name() && all.iter().all(|key| given(key).is_some()) {
                text("Everything was answered")
            } else {
                let requests = json!({
                    "user_name": form("What is your name?", "name", "string"),
                    "greeting": sample("Generate a greeting"),
                    "client_roots": roots()
                });
                required(requests, Some(json!({"for": exchange.name()})))
            }
        }
        "test_input_required_result_multi_round" => rounds(exchange, &state),
        "test_input_required_result_capabilities" => capabilities(exchange),
        name => return Err(Fault::params(format!("Unknown tool: {name}"))),
    })
}

fn rounds(exchange: &Exchange, state: &Value) -> Value {
    match (state["round"].as_u64(), field(exchange.response("step1"), "name")) {
        (Some(1), Some(name)) => required(
            json!({"step2": form("Step 2: What is your favorite color?", "color", "string")}),
            Some(json!({"round": 2, "name": name})),
        ),
        (Some(2), _) if exchange.response("step2").is_some() => {
            let color = field(exchange.response("step2"), "color").unwrap_or("none");
            text(format!("{} likes {color}", state["name"]))
        }
        _ => required(
            json!({"step1": form("Step 1: What is your name?", "name", "string")}),
            Some(json!({"round": 1})),
        ),
    }
}

/// Asks only for what the client said it can give.
fn capabilities(exchange: &Exchange) -> Value {
    if exchange.params["inputResponses"].as_object().is_some_and(|given| !given.is_empty()) {
        return text("The declared inputs came");
    }
    let mut requests = json!({});
    if exchange.declared("elicitation").is_some() {
        requests["elicit_input"] = form("A value, please", "value", "string");
    }
    if exchange.declared("sampling").is_some() {
        requests["sample_input"] = sample("Sample request");
    }
    if requests.as_object().is_none_or(serde_json::Map::is_empty) {
        return text("The client declared nothing");
    }
    required(requests, Some(json!({"for": exchange.name()})))
}
