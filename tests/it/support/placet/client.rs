//! An agent's client, as bytes on the wire.

use placet::domain::call::params_with_meta;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

use crate::support::soon;

/// The era an agent speaks.
#[derive(Debug, Clone)]
pub enum Era {
    Legacy { session: Option<String> },
    Modern,
}

/// An agent's client.
#[derive(Debug, Clone)]
pub struct Agent {
    pub(super) http: Client,
    pub url: String,
    pub(super) token: String,
    pub era: Era,
    pub(super) accept: &'static str,
}

impl Agent {
    /// At another upstream.
    pub fn at(&self, upstream: &str) -> Self {
        let url = self.url.replace("/mcp/u", &format!("/mcp/{upstream}"));
        Self { url, ..self.clone() }
    }

    /// At the one address for everything.
    pub fn whole(&self) -> Self {
        Self { url: self.url.replace("/mcp/u", "/mcp"), ..self.clone() }
    }

    /// One that reads no event streams.
    pub fn plain(&self) -> Self {
        Self { accept: "application/json", ..self.clone() }
    }

    /// A request with the usual headers and no body.
    pub fn http(&self, method: Method) -> RequestBuilder {
        let request = self
            .http
            .request(method, &self.url)
            .bearer_auth(&self.token)
            .header("accept", self.accept);
        match &self.era {
            Era::Legacy { session: Some(session) } => request
                .header("mcp-session-id", session)
                .header("mcp-protocol-version", "2025-11-25"),
            Era::Legacy { session: None } => request,
            Era::Modern => request.header("mcp-protocol-version", "2026-07-28"),
        }
    }

    /// A POST of this very body.
    pub fn post(&self, body: &str) -> RequestBuilder {
        self.http(Method::POST).header("content-type", "application/json").body(body.to_owned())
    }

    /// A JSON-RPC request as this era wants it; `params` is raw and `id` too.
    pub fn request(&self, id: &str, method: &str, params: &str) -> RequestBuilder {
        self.request_with(id, method, params, &[])
    }

    /// The same with members of `_meta`.
    pub fn request_with(
        &self,
        id: &str,
        method: &str,
        params: &str,
        meta: &[(&str, String)],
    ) -> RequestBuilder {
        let mut meta = meta.to_vec();
        if matches!(self.era, Era::Modern) {
            meta.push(("io.modelcontextprotocol/protocolVersion", "\"2026-07-28\"".to_owned()));
            if !meta.iter().any(|(key, _)| key.ends_with("/clientCapabilities")) {
                meta.push(("io.modelcontextprotocol/clientCapabilities", "{}".to_owned()));
            }
        }
        let params =
            if meta.is_empty() { params.to_owned() } else { params_with_meta(params, &meta) };
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let request = self.post(&body);
        if matches!(self.era, Era::Legacy { .. }) {
            return request;
        }
        let request = request.header("mcp-method", method);
        let node: Value = serde_json::from_str(&params).unwrap();
        let name = match method {
            "tools/call" | "prompts/get" => node["name"].as_str(),
            "resources/read" => node["uri"].as_str(),
            "tasks/get" | "tasks/update" | "tasks/cancel" => node["taskId"].as_str(),
            _ => None,
        };
        match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        }
    }

    /// Calls a tool.
    pub fn call(&self, id: &str, tool: &str, arguments: &str) -> RequestBuilder {
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        self.request(id, "tools/call", &params)
    }

    /// Calls a tool with a progress token.
    pub fn call_with_progress(&self, id: &str, tool: &str, token: &str) -> RequestBuilder {
        let params = format!(r#"{{"name":"{tool}","arguments":{{}}}}"#);
        self.request_with(id, "tools/call", &params, &[("progressToken", token.to_owned())])
    }

    /// Sends a notification of the legacy era.
    pub async fn notify(&self, method: &str, params: &str) -> Got {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        got(self.post(&body)).await
    }

    /// Opens a legacy session.
    pub async fn initialize(&self, version: &str) -> Got {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"test","version":"1"}}}}}}"#
        );
        got(self.post(&body)).await
    }
}

/// One whole answer.
#[derive(Debug, Clone)]
pub struct Got {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// The JSON document, or the last message of the stream.
    pub body: String,
}

impl Got {
    /// A header; empty where there is none.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Placet's decision in the result.
    pub fn decision(&self) -> Value {
        self.json()["result"]["_meta"]["io.placet/decision"].clone()
    }

    /// Its code.
    pub fn code(&self) -> String {
        self.decision()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The JSON-RPC error code.
    pub fn error(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Sends a request and reads its whole answer, be it a document or a stream.
pub async fn got(request: RequestBuilder) -> Got {
    let response = soon("the head of an answer", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let is_stream = headers
        .get("content-type")
        .is_some_and(|v| v.to_str().unwrap().starts_with("text/event-stream"));
    let body = if is_stream {
        Stream::of(response).last().await
    } else {
        soon("the body of an answer", response.text()).await.unwrap()
    };
    Got { status, headers, body }
}

/// Something on an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Comment,
    Message(String),
}

/// An event stream.
pub struct Stream {
    response: Response,
    buffer: String,
    /// The id of the last event; empty where events have none.
    pub id: String,
}

impl Stream {
    /// Sends a request whose answer must be a stream.
    pub async fn open(request: RequestBuilder) -> Self {
        let response = soon("the head of a stream", request.send()).await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!((response.status().as_u16(), kind.as_str()), (200, "text/event-stream"));
        Self::of(response)
    }

    fn of(response: Response) -> Self {
        Self { response, buffer: String::new(), id: String::new() }
    }

    /// The next thing on it; none at its end.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name| event.lines().find_map(|l: &str| l.strip_prefix(name));
                if let Some(id) = field("id: ") {
                    self.id = id.to_owned();
                }
                // An event without data only tells its id.
                let data = field("data: ").filter(|d| !d.is_empty());
                return Some(data.map_or(Heard::Comment, |d| Heard::Message(d.to_owned())));
            }
            let chunk = soon("a piece of a stream", self.response.chunk()).await.ok()??;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next message; none at the end.
    pub async fn message(&mut self) -> Option<Value> {
        // Heartbeats alone could go on for ever.
        soon("a message on a stream", async {
            loop {
                match self.next().await? {
                    Heard::Comment => {}
                    Heard::Message(text) => return Some(serde_json::from_str(&text).unwrap()),
                }
            }
        })
        .await
    }

    /// The last message before the end; empty where there is none.
    pub async fn last(mut self) -> String {
        let mut last = String::new();
        while let Some(heard) = self.next().await {
            if let Heard::Message(text) = heard {
                last = text;
            }
        }
        last
    }

    /// The rest of it: all messages until the end.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(message) = self.message().await {
            all.push(message);
        }
        all
    }
}
