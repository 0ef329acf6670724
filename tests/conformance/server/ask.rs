//! Tools that ask the client one question: while they run in the legacy era, with the next try in
//! the modern one.

use serde_json::{Value, json};

use super::exchange::Exchange;
use super::mrtr;
use super::tools::text;
use super::wire::{Answer, Fault};

pub(crate) async fn call(name: &str, exchange: &Exchange) -> Answer {
    let (message, schema) = match name {
        "test_sampling" => return sampling(exchange).await,
        "test_elicitation" => {
            let message = exchange.argument("message").as_str().unwrap_or_default();
            let answer = json!({"type": "string", "description": "User's response"});
            let schema = json!({"type": "object", "properties": {"response": answer},
                "required": ["response"]});
            (message, schema)
        }
        "test_elicitation_sep1034_defaults" => ("Please review the defaults", defaults()),
        "test_elicitation_sep1330_enums" => ("Please choose", enumerations()),
        _ => return Err(Fault::params(format!("Unknown tool: {name}"))),
    };
    let params = json!({"message": message, "requestedSchema": schema});
    let answer = match asked(exchange, "elicitation/create", params).await {
        Asked::Answered(answer) => answer,
        Asked::NextTime(result) => return Ok(result),
    };
    Ok(match answer {
        Ok(answer) => text(format!(
            "Elicitation completed: action={}, content={}",
            answer["action"].as_str().unwrap_or_default(),
            answer["content"]
        )),
        Err(why) => failed(&format!("Elicitation not supported or failed: {why}")),
    })
}

enum Asked {
    Answered(Result<Value, String>),
    /// The client is to call again with the answer.
    NextTime(Value),
}

async fn asked(exchange: &Exchange, method: &str, params: Value) -> Asked {
    if exchange.session.is_some() {
        return Asked::Answered(exchange.ask(method, params).await);
    }
    if let Some(answer) = exchange.response("answer") {
        return Asked::Answered(Ok(answer.clone()));
    }
    let question = json!({"method": method, "params": params});
    Asked::NextTime(mrtr::required(json!({"answer": question}), None))
}

async fn sampling(exchange: &Exchange) -> Answer {
    let content = json!({"type": "text", "text": exchange.argument("prompt")});
    let params = json!({"messages": [{"role": "user", "content": content}], "maxTokens": 100});
    Ok(match asked(exchange, "sampling/createMessage", params).await {
        Asked::NextTime(result) => result,
        Asked::Answered(Ok(answer)) => {
            let said = answer["content"]["text"].as_str().unwrap_or("No response");
            text(format!("LLM response: {said}"))
        }
        Asked::Answered(Err(why)) => failed(&format!("Sampling not supported or failed: {why}")),
    })
}

pub(crate) fn failed(why: &str) -> Value {
    let mut result = text(why);
    result["isError"] = json!(true);
    result
}

fn defaults() -> Value {
    json!({"type": "object", "required": [], "properties": {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {"type": "string", "description": "User status",
            "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Verification status", "default": true}
    }})
}

fn enumerations() -> Value {
    let titled = |one: &str| {
        json!([{"const": "value1", "title": format!("First {one}")},
            {"const": "value2", "title": format!("Second {one}")},
            {"const": "value3", "title": format!("Third {one}")}])
    };
    let options = json!(["option1", "option2", "option3"]);
    json!({"type": "object", "required": [], "properties": {
        "untitledSingle": {"type": "string", "description": "One", "enum": options},
        "titledSingle": {"type": "string", "description": "One", "oneOf": titled("Option")},
        "legacyEnum": {"type": "string", "description": "One", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "description": "Some", "minItems": 1, "maxItems": 3,
            "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "description": "Some", "minItems": 1, "maxItems": 3,
            "items": {"anyOf": titled("Choice")}}
    }})
}
