//! The bytes of requests, of both eras of MCP and of the HTTP API.

/// The revision of the modern era: no session, every request stands alone.
const MODERN: &str = "2026-07-28";
/// The newest revision of the legacy era.
const LEGACY: &str = "2025-11-25";
/// Ids of requests have so many digits, so that the next one has room where the last one stood.
const FIRST_ID: u32 = 100_000;

/// Where requests are sent to, and as whom.
#[derive(Debug, Clone)]
pub struct To {
    /// The value of `Host`.
    pub host: String,
    /// The path of the endpoint.
    pub path: String,
    /// The agent's token.
    pub token: String,
}

/// A request that is sent again and again, each time with another JSON-RPC id.
#[derive(Debug, Clone)]
pub struct Again {
    bytes: Vec<u8>,
    id_at: usize,
    next: u32,
}

impl Again {
    fn new(bytes: Vec<u8>) -> Self {
        let id = FIRST_ID.to_string();
        let at = bytes.windows(id.len()).rposition(|w| w == id.as_bytes());
        Self { bytes, id_at: at.unwrap_or_default(), next: FIRST_ID }
    }

    /// The bytes with the next id.
    pub fn next(&mut self) -> &[u8] {
        self.next = if self.next == 999_999 { FIRST_ID } else { self.next + 1 };
        let id = self.next.to_string();
        self.bytes[self.id_at..self.id_at + id.len()].copy_from_slice(id.as_bytes());
        &self.bytes
    }
}

/// A `tools/call` of the modern era; the argument tells calls apart.
pub fn modern_call(to: &To, tool: &str, argument: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","method":"tools/call","params":{{"name":"{tool}","arguments":{{"datastore_id":"hospital-main","image_set_id":"{argument}"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientInfo":{{"name":"load","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}},"id":{FIRST_ID}}}"#
    );
    let headers =
        format!("mcp-protocol-version: {MODERN}\r\nmcp-method: tools/call\r\nmcp-name: {tool}\r\n");
    post(to, &headers, &body)
}

/// The same, to be sent again and again.
pub fn modern_calls(to: &To, tool: &str, argument: &str) -> Again {
    Again::new(modern_call(to, tool, argument))
}

/// A `tools/call` in a legacy session, to be sent again and again.
pub fn legacy_calls(to: &To, session: &str, tool: &str, argument: &str) -> Again {
    let body = format!(
        r#"{{"jsonrpc":"2.0","method":"tools/call","params":{{"name":"{tool}","arguments":{{"datastore_id":"hospital-main","image_set_id":"{argument}"}}}},"id":{FIRST_ID}}}"#
    );
    Again::new(post(to, &session_headers(session), &body))
}

/// `initialize`.
pub fn initialize(to: &To) -> Vec<u8> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{LEGACY}","capabilities":{{}},"clientInfo":{{"name":"load","version":"1"}}}}}}"#
    );
    post(to, "", &body)
}

/// `notifications/initialized`.
pub fn initialized(to: &To, session: &str) -> Vec<u8> {
    let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    post(to, &session_headers(session), body)
}

/// A decision over the HTTP API; `to` is the reviewer.
pub fn decision(to: &To, approval: &str, choice: &str) -> Vec<u8> {
    let path = format!("/api/v1/approvals/{approval}/decision");
    let body = format!(r#"{{"decision":"{choice}","reason":"measured"}}"#);
    post(&To { path, ..to.clone() }, "", &body)
}

/// A `GET` with a bearer token or, where one is given, with a cookie instead.
pub fn get(to: &To, path: &str, cookie: Option<&str>) -> Vec<u8> {
    let who = match cookie {
        Some(cookie) => format!("cookie: {cookie}"),
        None => format!("authorization: Bearer {}", to.token),
    };
    format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{who}\r\n\r\n", to.host).into_bytes()
}

fn session_headers(session: &str) -> String {
    format!("mcp-session-id: {session}\r\nmcp-protocol-version: {LEGACY}\r\n")
}

fn post(to: &To, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        to.path,
        to.host,
        to.token,
        body.len()
    )
    .into_bytes()
}
