//! An MCP server of the modern era on threads of its own, with two tools.

use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::client::Conn;

/// Stands in every result of a call.
pub const DONE: &str = "412 images";

/// Starts it; it ends with the process.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(|| serve(stream.unwrap()));
        }
    });
    address
}

fn serve(stream: TcpStream) {
    // A client may keep it idle for as long as it likes.
    let idle = stream.try_clone().unwrap();
    let mut conn = Conn::of(stream);
    idle.set_read_timeout(None).unwrap();
    loop {
        let head = conn.head();
        if head.first().is_empty() {
            return;
        }
        let body = conn.body(&head);
        let message: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let result = match message["method"].as_str() {
            Some("server/discover") => {
                r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"1"}}}"#.to_owned()
            }
            Some("tools/list") => {
                r#"{"tools":[{"name":"look","inputSchema":{"type":"object"}},{"name":"delete","inputSchema":{"type":"object"}}]}"#.to_owned()
            }
            Some("tools/call") => {
                format!(r#"{{"content":[{{"type":"text","text":"{DONE}"}}]}}"#)
            }
            _ => {
                conn.send(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
        };
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, message["id"]);
        let length = body.len();
        conn.send(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        );
    }
}
