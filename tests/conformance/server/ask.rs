//! Tools that ask the client while they run, as servers of the legacy era do.

use serde_json::{Value, json};

use super::exchange::Exchange;
use super::tools::text;
use super::wire::{Answer, Fault};

pub(crate) async fn call(name: &str, exchange: &Exchange) -> Answer {
    let (message, schema) = match name {
        "test_sampling" => return Ok(sampling(exchange).await),
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
    Ok(match exchange.ask("elicitation/create", params).await {
        Ok(answer) => text(format!(
            "Elicitation completed: action={}, content={}",
            answer["action"].as_str().unwrap_or_default(),
            answer["content"]
        )),
        Err(why) => failed(&format!("Elicitation not supported or failed: {why}")),
    })
}

async fn sampling(exchange: &Exchange) -> Value {
    let content = json!({"type": "text", "text": exchange.argument("prompt")});
    let params = json!({"messages": [{"role": "user", "content": content}], "maxTokens": 100});
    match exchange.ask("sampling/createMessage", params).await {
        Ok(answer) => {
            let said = answer["content"]["text"].as_str().unwrap_or("No response");
            text(format!("LLM response: {said}"))
        }
        Err(why) => failed(&format!("Sampling not supported or failed: {why}")),
    }
}

fn failed(why: &str) -> Value {
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
