//! Resources, prompts and completion: the same in both eras.

use serde_json::{Value, json};

use super::exchange::Exchange;
use super::mrtr;
use super::wire::{Answer, Fault};

/// One red pixel, PNG.
pub(crate) const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A sound of no length, WAV.
pub(crate) const SILENCE: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

pub(crate) async fn answer(method: &str, exchange: &mut Exchange) -> Answer {
    match method {
        "resources/list" => Ok(json!({"resources": [
            {"uri": "test://static-text", "name": "static-text", "mimeType": "text/plain",
             "title": "Static text", "description": "Text that stays"},
            {"uri": "test://static-binary", "name": "static-binary", "mimeType": "image/png",
             "title": "Static binary", "description": "An image that stays"},
            {"uri": "test://watched-resource", "name": "watched-resource",
             "mimeType": "text/plain", "title": "Watched", "description": "One to subscribe to"}
        ]})),
        "resources/templates/list" => Ok(json!({"resourceTemplates": [
            {"uriTemplate": "test://template/{id}/data", "name": "template",
             "mimeType": "application/json", "description": "One parameter"}
        ]})),
        "resources/read" => read(exchange.params["uri"].as_str().unwrap_or_default()),
        "prompts/list" => {
            let mut prompts = prompts();
            prompts.extend(exchange.fixture.changed("prompts"));
            Ok(json!({"prompts": prompts}))
        }
        "prompts/get" => loop {
            let result = prompt(exchange)?;
            if exchange.session.is_none() || !mrtr::fulfil(exchange, &result).await? {
                return Ok(result);
            }
        },
        "completion/complete" => {
            let begun = exchange.params["argument"]["value"].as_str().unwrap_or_default();
            let values: Vec<&str> =
                ["paris", "park", "party"].into_iter().filter(|v| v.starts_with(begun)).collect();
            let total = values.len();
            Ok(json!({"completion": {"values": values, "total": total, "hasMore": false}}))
        }
        method => Err(Fault::no_method(method)),
    }
}

fn read(uri: &str) -> Answer {
    let one = |kind: &str, mut content: Value| {
        content["uri"] = json!(uri);
        content["mimeType"] = json!(kind);
        Ok(json!({"contents": [content]}))
    };
    let text = "This is the content of the static text resource.";
    match uri {
        "test://static-text" => one("text/plain", json!({"text": text})),
        "test://watched-resource" => one("text/plain", json!({"text": "Watched content"})),
        "test://static-binary" => one("image/png", json!({"blob": PIXEL})),
        _ => {
            let id = uri.strip_prefix("test://template/").and_then(|u| u.strip_suffix("/data"));
            let Some(id) = id else {
                let fault = Fault::params(format!("Resource not found: {uri}"));
                return Err(fault.with(json!({"uri": uri})));
            };
            let data =
                json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            one("application/json", json!({"text": data.to_string()}))
        }
    }
}

fn prompts() -> Vec<Value> {
    vec![
        json!({"name": "test_simple_prompt", "description": "No arguments"}),
        json!({"name": "test_prompt_with_arguments", "description": "Two arguments", "arguments": [
            {"name": "arg1", "description": "First test argument", "required": true},
            {"name": "arg2", "description": "Second test argument", "required": true}]}),
        json!({"name": "test_prompt_with_embedded_resource", "description": "A resource inside",
            "arguments": [{"name": "resourceUri", "description": "Which", "required": true}]}),
        json!({"name": "test_prompt_with_image", "description": "An image inside"}),
        json!({"name": "test_input_required_result_prompt", "description": "Asks first"}),
    ]
}

fn prompt(exchange: &Exchange) -> Answer {
    let said = |contents: Vec<Value>| {
        let messages: Vec<Value> =
            contents.into_iter().map(|c| json!({"role": "user", "content": c})).collect();
        Ok(json!({"messages": messages}))
    };
    let text = |text: &str| json!({"type": "text", "text": text});
    let argument = |name: &str| exchange.argument(name).as_str().unwrap_or_default().to_owned();
    match exchange.name() {
        "test_simple_prompt" => said(vec![text("This is a simple prompt for testing.")]),
        "test_prompt_with_arguments" => said(vec![text(&format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            argument("arg1"),
            argument("arg2")
        ))]),
        "test_prompt_with_embedded_resource" => said(vec![
            json!({"type": "resource", "resource": {"uri": argument("resourceUri"),
                "mimeType": "text/plain", "text": "Embedded resource content for testing."}}),
            text("Please process the embedded resource above."),
        ]),
        "test_prompt_with_image" => said(vec![
            json!({"type": "image", "data": PIXEL, "mimeType": "image/png"}),
            text("Please analyze the image above."),
        ]),
        "test_input_required_result_prompt" => {
            let Some(given) = exchange.response("user_context") else {
                let question = mrtr::form("What context should be used?", "context", "string");
                return Ok(mrtr::required(json!({"user_context": question}), None));
            };
            let context = given["content"]["context"].as_str().unwrap_or("none");
            said(vec![text(&format!("Prompt with context: {context}"))])
        }
        name => Err(Fault::params(format!("Unknown prompt: {name}"))),
    }
}
