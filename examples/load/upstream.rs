//! A small fast MCP server: fifty tools that all give the same small result, in both eras, without
//! state. It is what everything else is measured against.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::world::Fallible;

/// Tools that the policy allows, and tools that it asks people about.
pub const ALLOWED: u32 = 40;
/// See [`ALLOWED`].
pub const GATED: u32 = 10;
/// Stands in every result of a call.
pub const DONE: &str = "CT thorax, 412 images";

/// Names of all tools.
pub fn tools() -> Vec<String> {
    let allowed = (0..ALLOWED).map(|n| format!("get_image_set_{n}"));
    allowed.chain((0..GATED).map(|n| format!("delete_image_set_{n}"))).collect()
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
}

/// Serves until the process is ended.
pub async fn run(port: u16) -> Fallible<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let list: &'static str = Box::leak(list().into_boxed_str());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(list, request));
            // A client may leave as it likes.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    list: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::DELETE {
        return Ok(empty(StatusCode::OK));
    }
    if request.method() != Method::POST {
        return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    let modern = request.headers().get("mcp-protocol-version").is_some_and(|v| v == "2026-07-28");
    let Ok(body) = request.into_body().collect().await else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let body = body.to_bytes();
    let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let Some(id) = message.id else { return Ok(empty(StatusCode::ACCEPTED)) };
    let modern_only = if modern {
        r#","resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"load","version":"1"}}"#
    } else {
        ""
    };
    let kept = if modern { r#","ttlMs":300000,"cacheScope":"public""# } else { "" };
    let result = match message.method {
        "tools/call" => {
            format!(
                r#"{{"content":[{{"type":"text","text":"{DONE}"}}],"isError":false{modern_only}}}"#
            )
        }
        "tools/list" => format!(r#"{{"tools":{list}{kept}{modern_only}}}"#),
        "server/discover" if modern => format!(
            r#"{{"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}}{kept}{modern_only}}}"#
        ),
        "initialize" => {
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"load","version":"1"}}"#;
            let mut response = document(id, result);
            let session = uuid::Uuid::now_v7().to_string();
            if let Ok(session) = HeaderValue::from_str(&session) {
                response.headers_mut().insert("mcp-session-id", session);
            }
            return Ok(response);
        }
        "ping" => "{}".to_owned(),
        _ => {
            let error = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Method not found"}}}}"#
            );
            let status = if modern { StatusCode::NOT_FOUND } else { StatusCode::OK };
            return Ok(json(status, error));
        }
    };
    Ok(document(id, &result))
}

fn document(id: &RawValue, result: &str) -> Response<Full<Bytes>> {
    json(StatusCode::OK, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn list() -> String {
    let tools: Vec<String> = tools()
        .iter()
        .map(|name| {
            format!(
                r#"{{"name":"{name}","description":"Does something to one image set of the archive.","inputSchema":{{"type":"object","properties":{{"datastore_id":{{"type":"string"}},"image_set_id":{{"type":"string"}}}},"required":["image_set_id"]}}}}"#
            )
        })
        .collect();
    format!("[{}]", tools.join(","))
}
