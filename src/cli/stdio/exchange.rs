//! One message to the broker, and what comes back.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::header::HeaderName;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::Instant;

use crate::domain::call::params_with_meta;
use crate::domain::json::{self, Node, lenient};
use crate::mcp::envelope::Message;
use crate::protocol::{code, header_name, jsonrpc, meta, method, version};
use crate::upstream::{EventParser, request_headers};

use super::bridge::{ASIDE, Bridge, UnderWay};
use super::text::{detail, text_of};

/// How long a broker that can't be reached is waited for; nothing was sent to it.
const COMES_BACK: Duration = Duration::from_secs(15);
/// Pause between two tries to reach it.
const TRY_EVERY: Duration = Duration::from_millis(250);

/// What is to be done with a request next.
enum Next {
    Done,
    /// Its session was replaced: it was not looked at, and is sent again.
    InNewSession,
    /// It was refused for its headers: once more, with what the tool wants now.
    WithNewHeaders(String),
}

impl Bridge {
    /// Sends a request and passes on everything that comes back, until it is answered or
    /// cancelled.
    pub(super) async fn exchange(&self, message: &Message, line: &[u8], request: &UnderWay) {
        tokio::select! {
            // Dropping the exchange closes the stream, which is how a modern request is cancelled.
            () = request.cancelled.cancelled() => {}
            () = self.answer(message, line, request.modern) => {}
        }
    }

    async fn answer(&self, message: &Message, line: &[u8], modern: bool) {
        let (mut renewed, mut relisted) = (false, false);
        loop {
            let session = if modern { None } else { self.session.lock().await.clone() };
            let request = || {
                if modern {
                    self.modern_post(message, line)
                } else {
                    self.within(session.as_ref()).body(line.to_vec())
                }
            };
            let response = match self.send(request).await {
                Ok(response) => response,
                Err(why) => return self.fail(message, &why).await,
            };
            // 404 says that the session has ended
            // (https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management).
            let forgotten = session.filter(|_| response.status() == StatusCode::NOT_FOUND);
            let next = match forgotten {
                Some(session) if !renewed => match self.renew(&session.id).await {
                    Ok(()) => Next::InNewSession,
                    Err(why) => return self.fail(message, &why).await,
                },
                _ => self.pass_on(message, line, modern && !relisted, response).await,
            };
            match next {
                Next::Done => return,
                Next::InNewSession => renewed = true,
                Next::WithNewHeaders(refusal) => {
                    relisted = true;
                    if !self.relist(message).await {
                        return self.say(refusal).await;
                    }
                }
            }
        }
    }

    /// Sends a request. As long as it surely was not sent, a broker that can't be reached is waited
    /// for and asked again.
    ///
    /// # Errors
    /// The broker could not be reached within [`COMES_BACK`], or the connection broke after the
    /// request may have been sent; in words, for the client.
    pub(super) async fn send(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, String> {
        let until = Instant::now() + COMES_BACK;
        loop {
            match request().send().await {
                Ok(response) => return Ok(response),
                Err(error) if error.is_connect() => {
                    if Instant::now() >= until || self.ended.is_cancelled() {
                        return Err(format!("the broker can't be reached: {}", text_of(error)));
                    }
                    tokio::time::sleep(TRY_EVERY).await;
                }
                Err(error) => {
                    return Err(format!(
                        "the broker gave no answer; call again ({})",
                        text_of(error)
                    ));
                }
            }
        }
    }

    /// A modern request, with the headers that repeat its body:
    /// <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>
    fn modern_post(&self, message: &Message, line: &[u8]) -> RequestBuilder {
        let params = message.params.as_ref().map(json::Text::node);
        let params = params.as_ref();
        let version = params.and_then(|p| p.get("_meta")?.get(meta::PROTOCOL_VERSION)?.as_str());
        let tool = params
            .filter(|_| message.method == method::TOOLS_CALL)
            .and_then(|p| p.get("name")?.as_str())
            .and_then(|name| {
                self.tools.lock().expect("no holder of this lock panics").get(name).cloned()
            });
        let headers = request_headers(&message.method, message.params.as_deref(), tool.as_deref());
        self.client
            .post(self.endpoint.clone())
            .header(header_name::PROTOCOL_VERSION, version.unwrap_or(version::MODERN))
            .headers(headers)
            .body(line.to_vec())
    }

    /// A notification of the client, or its answer to a server request.
    pub(super) async fn aside(&self, message: &Message, line: Vec<u8>) {
        let session = self.session.lock().await.clone();
        match self.within(session.as_ref()).body(line).timeout(ASIDE).send().await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => {
                let status = response.status();
                let body = response.text().await.unwrap_or_default();
                self.fail(message, &detail(status, &body)).await;
            }
            Err(error) => self.fail(message, &text_of(error)).await,
        }
    }

    async fn pass_on(
        &self,
        message: &Message,
        line: &[u8],
        may_relist: bool,
        response: Response,
    ) -> Next {
        let status = response.status();
        if header(&response, "content-type").starts_with("text/event-stream") {
            if !self.stream(Some((message, line)), response).await {
                self.broke_off(message).await;
            }
            return Next::Done;
        }
        let body = response.text().await.unwrap_or_default();
        if status == StatusCode::ACCEPTED || (body.is_empty() && status.is_success()) {
            return Next::Done;
        }
        if lenient::member(&body, "jsonrpc").is_none() {
            self.fail(message, &detail(status, &body)).await;
            return Next::Done;
        }
        // A server's result may be something less than JSON: it passes, and nothing is learned of it.
        let Ok(node) = json::parse(&body) else {
            self.say(body).await;
            return Next::Done;
        };
        // The tool's headers may have changed since it was listed
        // (https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes).
        if may_relist
            && message.method == method::TOOLS_CALL
            && node.get("error").and_then(jsonrpc::code_of) == Some(code::HEADER_MISMATCH)
        {
            return Next::WithNewHeaders(body);
        }
        self.learn(message, line, &node).await;
        self.say(body).await;
        Next::Done
    }

    /// The stream ended without the answer. A subscription is over, and every other request is
    /// answered here.
    async fn broke_off(&self, message: &Message) {
        if message.method == method::SUBSCRIPTIONS_LISTEN {
            let params = format!(
                "{{\"requestId\":{},\"reason\":\"the broker is gone: subscribe again\"}}",
                message.id_raw()
            );
            self.say(jsonrpc::notification(method::NOTIFICATIONS_CANCELLED, Some(&params))).await;
        } else {
            self.fail(message, "the broker's answer broke off; call again").await;
        }
    }

    /// Passes on every message of a stream. Returns whether the answer to `of` was among them.
    pub(super) async fn stream(
        &self,
        of: Option<(&Message, &[u8])>,
        mut response: Response,
    ) -> bool {
        let mut parser = EventParser::new(self.limits.answer);
        let mut answered = false;
        loop {
            let Ok(Some(chunk)) = response.chunk().await else { return answered };
            let Some(messages) = parser.push(&chunk) else { return answered };
            for text in messages {
                if let Some((message, line)) = of
                    && lenient::member(&text, "method").is_none()
                    && lenient::member(&text, "id") == Some(message.id_raw())
                {
                    answered = true;
                    if let Ok(node) = json::parse(&text) {
                        self.learn(message, line, &node).await;
                    }
                }
                self.say(text).await;
            }
        }
    }

    /// Remembers what later requests need.
    async fn learn(&self, message: &Message, line: &[u8], answer: &Node<'_>) {
        let Some(result) = answer.get("result") else { return };
        if message.method == method::TOOLS_LIST {
            self.learn_tools(result);
        } else {
            self.remember(message, line).await;
        }
    }

    /// Remembers the tools of a list: later calls repeat arguments in headers as their schemas ask.
    /// <https://modelcontextprotocol.io/specification/2026-07-28/server/tools#x-mcp-header>
    fn learn_tools(&self, list: &Node<'_>) {
        let mut tools = self.tools.lock().expect("no holder of this lock panics");
        for tool in list.get("tools").and_then(Node::elements).unwrap_or_default() {
            if let Some(name) = tool.get("name").and_then(Node::as_str) {
                tools.insert(name.to_owned(), tool.raw.to_owned());
            }
        }
    }

    /// Reads the tool list anew, with the client's own metadata; false if that fails.
    async fn relist(&self, message: &Message) -> bool {
        let params = message.params.as_ref().map(json::Text::node);
        let meta = params.as_ref().and_then(|p| p.get("_meta")).and_then(Node::members);
        let meta: Vec<(&str, String)> = meta
            .unwrap_or_default()
            .iter()
            .filter(|m| m.key != meta::PROGRESS_TOKEN)
            .map(|m| (m.key.as_ref(), m.node.raw.to_owned()))
            .collect();
        let mut cursor: Option<String> = None;
        let mut followed = HashSet::new();
        for _ in 0..self.limits.pages {
            let page = json::object(cursor.iter().map(|c| ("cursor", c.as_str())));
            let params = params_with_meta(&page, &meta);
            let body = jsonrpc::request("\"placet-tools\"", method::TOOLS_LIST, Some(&params));
            let Ok(ask) = Message::read(body.as_bytes()) else { return false };
            let request = self.modern_post(&ask, body.as_bytes()).timeout(ASIDE);
            let Ok(response) = request.send().await else { return false };
            let streamed = header(&response, "content-type").starts_with("text/event-stream");
            let Ok(text) = response.text().await else { return false };
            let text = if streamed {
                let messages = EventParser::new(self.limits.answer).push(text.as_bytes());
                messages.and_then(|mut m| m.pop()).unwrap_or_default()
            } else {
                text
            };
            let Ok(node) = json::parse(&text) else { return false };
            let Some(list) = node.get("result") else { return false };
            self.learn_tools(list);
            let next = list.get("nextCursor").filter(|c| c.as_str().is_some());
            // A cursor that was followed already leads in a circle.
            cursor = next.map(|c| c.raw.to_owned()).filter(|c| followed.insert(c.clone()));
            if cursor.is_none() {
                return true;
            }
        }
        true
    }
}

fn header(response: &Response, name: &'static str) -> String {
    let name = HeaderName::from_static(name);
    response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}
