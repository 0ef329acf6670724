//! The sample upstream: an image archive that speaks MCP over Streamable HTTP, and a page with
//! the mails that would have been sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::domain::visible_text::visible;
use crate::notify::Message;
use crate::notify::memory::Mailbox;
use crate::protocol::{code, jsonrpc, method, version};

/// The archive's content and its log of what was really done.
#[derive(Clone)]
pub struct Archive {
    sets: Arc<Mutex<BTreeMap<&'static str, &'static str>>>,
    mailbox: Mailbox,
}

impl Archive {
    /// An archive of three image sets, which also shows this mailbox.
    pub fn new(mailbox: Mailbox) -> Self {
        let sets = BTreeMap::from([
            ("7f3a", "CT thorax, 412 images"),
            ("b210", "MR head, 96 images"),
            ("c9e4", "X-ray left hand, 2 images"),
        ]);
        Self { sets: Arc::new(Mutex::new(sets)), mailbox }
    }

    /// How many image sets are left.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The routes: `/mcp` for MCP, `/mailbox` for people.
    pub fn router(self) -> Router {
        Router::new().route("/mcp", post(mcp)).route("/mailbox", get(mailbox)).with_state(self)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, &'static str>> {
        self.sets.lock().expect("no holder of this lock panics")
    }

    fn call(&self, name: &str, arguments: &Value) -> Result<Value, String> {
        let id = arguments.get("image_set_id").and_then(Value::as_str).unwrap_or_default();
        match name {
            "list_image_sets" => Ok(json!({ "image_sets": &*self.lock() })),
            "get_image_set" => match self.lock().get(id) {
                Some(what) => Ok(json!({ "image_set_id": id, "description": what })),
                None => Err(format!("there is no image set {id:?}")),
            },
            "delete_image_set" => match self.lock().remove(id) {
                Some(what) => Ok(json!({ "image_set_id": id, "deleted": what })),
                None => Err(format!("there is no image set {id:?}")),
            },
            _ => Err(format!("Unknown tool: {name}")),
        }
    }
}

async fn mcp(State(archive): State<Archive>, body: String) -> Response {
    let Ok(message) = serde_json::from_str::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let params = message.get("params").cloned().unwrap_or_default();
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    let result = match method {
        method::INITIALIZE => json!({
            "protocolVersion": version::V2025_11_25,
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "sample-image-archive", "version": env!("CARGO_PKG_VERSION") },
        }),
        method::PING => json!({}),
        method::TOOLS_LIST => json!({ "tools": tools() }),
        method::TOOLS_CALL => {
            let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
            let arguments = params.get("arguments").cloned().unwrap_or_default();
            let (text, failed) = match archive.call(name, &arguments) {
                Ok(done) => (done.to_string(), false),
                Err(why) => (why, true),
            };
            json!({ "content": [{ "type": "text", "text": text }], "isError": failed })
        }
        _ => {
            let error =
                jsonrpc::error(&id.to_string(), code::METHOD_NOT_FOUND, "Method not found", None);
            return json_response(error);
        }
    };
    json_response(jsonrpc::result(&id.to_string(), &result.to_string()))
}

fn json_response(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn tools() -> Value {
    let one = |name: &str, text: &str, keys: &[&str]| {
        let properties: serde_json::Map<String, Value> =
            keys.iter().map(|k| ((*k).to_owned(), json!({ "type": "string" }))).collect();
        json!({
            "name": name, "description": text,
            "inputSchema": { "type": "object", "properties": properties, "required": keys }
        })
    };
    json!([
        one("list_image_sets", "Lists the image sets of the archive.", &[]),
        one("get_image_set", "Describes one image set.", &["image_set_id"]),
        one(
            "delete_image_set",
            "Deletes an image set with all its images. There is no undo.",
            &["datastore_id", "image_set_id"]
        ),
    ])
}

/// The mails, newest first, as plain text with their links.
async fn mailbox(State(archive): State<Archive>) -> Response {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let mut page = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Demo mailbox</title>\
         <body><h1>Demo mailbox</h1><p>What Placet would have mailed, newest first.</p>",
    );
    for message in archive.mailbox.messages().iter().rev() {
        let Message::Email(mail) = message else { continue };
        let lines: Vec<String> = mail
            .text
            .lines()
            .map(|line| {
                let line_text = escape(line);
                if line.trim().starts_with("http") {
                    format!("<a href=\"{0}\">{0}</a>", escape(line.trim()))
                } else {
                    line_text
                }
            })
            .collect();
        page.push_str(&format!(
            "<h2>{}</h2><p>To {}</p><pre>{}</pre>",
            escape(&visible(&mail.subject)),
            escape(&mail.to),
            lines.join("\n")
        ));
    }
    page.push_str("</body></html>");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    (headers, page).into_response()
}
