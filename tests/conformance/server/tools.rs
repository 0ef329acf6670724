//! The tools: their definitions, and those that answer without asking anybody.

use std::time::Duration;

use serde_json::{Value, json};

use super::content::{PIXEL, SILENCE};
use super::exchange::Exchange;
use super::wire::Answer;
use super::{Fixture, ask, mrtr, tasks};

/// Between two messages of a tool that talks.
const PAUSE: Duration = Duration::from_millis(30);
/// Before the answer of a call whose stream was closed: long enough that a proxy opens a stream.
const AWAY: Duration = Duration::from_millis(1000);

/// Tools of both eras without arguments, and what they say of themselves.
const COMMON: [(&str, &str); 11] = [
    ("test_simple_text", "Answers text"),
    ("test_image_content", "Answers an image"),
    ("test_audio_content", "Answers a sound"),
    ("test_embedded_resource", "Answers a resource"),
    ("test_multiple_content_types", "Answers several kinds of content"),
    ("test_tool_with_logging", "Logs while it runs"),
    ("test_tool_with_progress", "Reports progress while it runs"),
    ("test_error_handling", "Fails"),
    ("test_logging_tool", "Logs where that is wanted"),
    ("test_trigger_tool_change", "Changes the list of tools"),
    ("test_trigger_prompt_change", "Changes the list of prompts"),
];
const ASKING: [(&str, &str); 2] = [
    ("test_elicitation_sep1034_defaults", "Asks with defaults"),
    ("test_elicitation_sep1330_enums", "Asks with enumerations"),
];

fn tool(name: &str, description: &str, properties: &Value) -> Value {
    json!({"name": name, "description": description,
        "inputSchema": {"type": "object", "properties": properties}})
}

/// The tools of an era, after their changes.
pub(crate) fn listed(fixture: &Fixture, modern: bool) -> Vec<Value> {
    let mut tools = list(modern);
    tools.extend(fixture.changed("tools"));
    tools
}

fn list(modern: bool) -> Vec<Value> {
    let plain = |(name, about): &(&str, &str)| tool(name, about, &json!({}));
    let text = |about: &str| json!({"type": "string", "description": about});
    let mut tools: Vec<Value> = COMMON.iter().map(plain).collect();
    tools.push(schema_tool());
    tools.extend(mrtr::TOOLS.iter().map(plain));
    tools.extend(ASKING.iter().map(plain));
    let prompt = json!({"prompt": text("What to ask the model")});
    tools.push(tool("test_sampling", "Asks the client's model", &prompt));
    let message = json!({"message": text("What to show the user")});
    tools.push(tool("test_elicitation", "Asks the user", &message));
    tools.push(tool("greet", "Says hello", &json!({"name": text("Whom")})));
    let region = json!({"region": {"type": "string", "x-mcp-header": "Region"}});
    tools.push(tool("test_custom_header", "Has an argument that is mirrored", &region));
    if modern {
        tools.extend(tasks::TOOLS.iter().map(plain));
    } else {
        let about = "Closes its stream and answers when the client is back";
        tools.push(tool("test_reconnection", about, &json!({})));
    }
    tools
}

/// Every keyword that a server or a proxy may be tempted to leave out.
fn schema_tool() -> Value {
    json!({"name": "json_schema_2020_12_tool", "description": "Has a schema with many keywords",
    "inputSchema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {
            "street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"}
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}},
            "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false
    }})
}

/// Which arguments of a tool a header repeats: header, argument.
pub(crate) fn mirrored(tool: &str) -> &'static [(&'static str, &'static str)] {
    if tool == "test_custom_header" { &[("region", "region")] } else { &[] }
}

/// Whether a tool says something before it answers.
pub(crate) fn talks(tool: &str) -> bool {
    let talking = [
        "test_tool_with_logging",
        "test_tool_with_progress",
        "test_streaming_elicitation",
        "test_logging_tool",
    ];
    talking.contains(&tool)
}

/// A result of one text.
pub(crate) fn text(text: impl Into<String>) -> Value {
    json!({"content": [{"type": "text", "text": text.into()}]})
}

pub(crate) async fn call(mut exchange: Exchange) -> Answer {
    let name = exchange.name().to_owned();
    let modern = exchange.session.is_none();
    match name.as_str() {
        "test_simple_text" => Ok(text("This is a simple text response for testing.")),
        "test_image_content" => Ok(json!({"content": [image()]})),
        "test_audio_content" => Ok(json!({"content": [
            {"type": "audio", "data": SILENCE, "mimeType": "audio/wav"}]})),
        "test_embedded_resource" => Ok(json!({"content": [{"type": "resource", "resource": {
            "uri": "test://embedded-resource", "mimeType": "text/plain",
            "text": "This is an embedded resource content."}}]})),
        "test_multiple_content_types" => Ok(json!({"content": [
            {"type": "text", "text": "Multiple content types test:"},
            image(),
            {"type": "resource", "resource": {"uri": "test://mixed-content-resource",
                "mimeType": "application/json", "text": "{\"test\":\"data\",\"value\":123}"}}
        ]})),
        "test_error_handling" => {
            let mut result = text("This tool intentionally returns an error for testing");
            result["isError"] = json!(true);
            Ok(result)
        }
        "test_tool_with_logging" | "test_logging_tool" => {
            for said in
                ["Tool execution started", "Tool processing data", "Tool execution completed"]
            {
                exchange.log(said);
                tokio::time::sleep(PAUSE).await;
            }
            Ok(text("Tool with logging executed successfully"))
        }
        "test_tool_with_progress" | "test_streaming_elicitation" => {
            for done in [0, 50, 100] {
                exchange.progress(done, 100);
                tokio::time::sleep(PAUSE).await;
            }
            Ok(text("Tool with progress executed successfully"))
        }
        "test_trigger_tool_change" => {
            exchange.fixture.change("tools");
            Ok(text("The list of tools changed"))
        }
        "test_trigger_prompt_change" => {
            exchange.fixture.change("prompts");
            Ok(text("The list of prompts changed"))
        }
        "json_schema_2020_12_tool" => {
            Ok(text(format!("Called with {}", exchange.params["arguments"])))
        }
        "test_reconnection" if !modern => {
            exchange.stream.hang_up();
            tokio::time::sleep(AWAY).await;
            Ok(text("Reconnection test completed: the client came back for its answer."))
        }
        "test_custom_header" => Ok(text(format!("Region {}", exchange.argument("region")))),
        "greet" => {
            let whom = exchange.argument("name").as_str().unwrap_or("World");
            Ok(text(format!("Hello, {whom}!")))
        }
        name if modern && tasks::is_task(name) => tasks::call(&exchange),
        name if mrtr::TOOLS.iter().any(|(tool, _)| *tool == name) => loop {
            let result = mrtr::call(&exchange)?;
            if modern || !mrtr::fulfil(&mut exchange, &result).await? {
                return Ok(result);
            }
        },
        name => ask::call(name, &exchange).await,
    }
}

fn image() -> Value {
    json!({"type": "image", "data": PIXEL, "mimeType": "image/png"})
}
