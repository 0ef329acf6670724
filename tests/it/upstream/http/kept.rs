//! Connections that are kept for the next request: when one is used again, and when not.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use placet::domain::json;
use placet::upstream::{Reply, UpstreamError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::fake_http::is_whole;
use crate::support::upstreams::{ana, built, call, http, is_lost};

/// A server whose sockets the test holds: it answers the handshake by itself and hands over every
/// `tools/call`.
struct Held {
    url: String,
    calls: mpsc::UnboundedReceiver<Call>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

/// A call that waits for its answer.
struct Call {
    /// The number of its connection.
    on: usize,
    id: String,
    socket: TcpStream,
}

impl Call {
    fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    fn answer(&mut self, result: &str) {
        let text = json(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.id));
        self.write(&text);
    }
}

fn json(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// More calls than connections are kept by then.
const MANY: usize = 12;
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

impl Held {
    fn start(modern: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (heard, calls) = mpsc::unbounded_channel();
        let sockets: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let all = Arc::clone(&sockets);
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                socket.set_nodelay(true).unwrap();
                let mut all = all.lock().unwrap();
                let (on, heard) = (all.len(), heard.clone());
                all.push(socket.try_clone().unwrap());
                std::thread::spawn(move || serve(socket, on, modern, &heard));
            }
        });
        Self { url, calls, sockets }
    }

    async fn call(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }

    /// Ends every connection, right now and without a word.
    fn close_all(&self) {
        for socket in self.sockets.lock().unwrap().iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut socket: TcpStream, on: usize, modern: bool, heard: &mpsc::UnboundedSender<Call>) {
    loop {
        let mut bytes = Vec::new();
        let mut more = [0; 4096];
        while !is_whole(&bytes) {
            match socket.read(&mut more) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&more[..count]),
                _ => return,
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let node = json::parse(body).ok();
        let member = |key: &str| node.as_ref().and_then(|n| n.get(key)).map_or("", |n| n.raw);
        let (id, method) = (member("id"), member("method"));
        let result = match method.trim_matches('"') {
            "tools/call" => {
                let (id, socket) = (id.to_owned(), socket.try_clone().unwrap());
                if heard.send(Call { on, id, socket }).is_err() {
                    return;
                }
                continue;
            }
            "server/discover" if modern => {
                r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#
            }
            "initialize" if !modern => {
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"held","version":"1"}}"#
            }
            "tools/list" => r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#,
            "" => {
                let _ = socket.write_all(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
            _ if id.is_empty() => {
                let _ = socket.write_all(b"HTTP/1.1 202 Yes\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
            _ => {
                let no = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no"}}}}"#
                );
                let _ = socket.write_all(json(&no).as_bytes());
                continue;
            }
        };
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let _ = socket.write_all(json(&body).as_bytes());
    }
}

fn answer(raw: &str) -> Reply {
    Reply::Result(raw.to_owned())
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_meanwhile_is_not_used_for_an_allowed_call() {
    let mut held = Held::start(false);
    let placet = built(http(&held.url));
    let mut last = None;
    for n in 0..20 {
        let (said, on) = tokio::join!(placet.call(false), async {
            let mut call = held.call().await;
            call.answer("{\"n\":1}");
            call.on
        });
        assert_eq!(said.unwrap(), answer("{\"n\":1}"), "{n}");
        assert_ne!(last, Some(on), "it was closed");
        last = Some(on);
        // Nothing is waited for between this and the next call.
        held.close_all();
    }
    placet.end().await;
}

#[tokio::test]
async fn calls_one_after_the_other_go_over_one_connection() {
    for modern in [false, true] {
        let mut held = Held::start(modern);
        let placet = built(http(&held.url));
        let mut used = Vec::new();
        for _ in 0..5 {
            let (said, on) = tokio::join!(placet.call(false), async {
                let mut call = held.call().await;
                call.answer("{}");
                call.on
            });
            assert_eq!(said.unwrap(), answer("{}"));
            used.push(on);
        }

        assert!(used.iter().all(|on| *on == used[0]), "{used:?}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_streamed_answer_keeps_its_connection_until_its_end() {
    let mut held = Held::start(false);
    let placet = built(http(&held.url));
    let (said, mut first) = tokio::join!(placet.call(false), async {
        let mut call = held.call().await;
        let event = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{}}}}\n\n", call.id);
        call.write(&format!("{EVENTS}{}", chunk(&event)));
        call
    });
    assert_eq!(said.unwrap(), answer("{}"));

    // The answer is there and the stream goes on: nobody else may speak on that connection.
    let (said, second) = tokio::join!(placet.call(false), async {
        let mut call = held.call().await;
        call.answer("{\"n\":2}");
        call.on
    });
    assert_eq!(said.unwrap(), answer("{\"n\":2}"));
    assert_ne!(second, first.on);

    // Its end comes. So many calls at once need every connection that is good.
    first.write(&chunk(": done\n\n"));
    first.write("0\r\n\r\n");
    let calls = join_all((0..MANY).map(|_| placet.call(false)));
    let (said, used) = tokio::join!(calls, async {
        let mut calls = Vec::new();
        for _ in 0..MANY {
            calls.push(held.call().await);
        }
        for call in &mut calls {
            call.answer("{}");
        }
        calls.iter().map(|call| call.on).collect::<Vec<_>>()
    });
    assert!(said.iter().all(Result::is_ok));
    assert!(used.contains(&first.on) && used.contains(&second), "{} of {used:?}", first.on);
    placet.end().await;
}

#[tokio::test]
async fn an_answer_after_its_request_was_cancelled_does_not_reach_the_next_call() {
    for modern in [false, true] {
        let mut held = Held::start(modern);
        let placet = built(http(&held.url));
        let (ana, cancel) = (ana(), CancellationToken::new());
        let (said, mut first) = tokio::join!(
            placet.upstream.request(&ana, call("{}", false), None, cancel.clone()),
            async {
                let call = held.call().await;
                cancel.cancel();
                call
            }
        );
        assert!(matches!(said, Err(UpstreamError::Cancelled)), "{said:?}");

        let (said, second) = tokio::join!(placet.call(false), async {
            let mut second = held.call().await;
            let late = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"n":1}}}}"#, second.id);
            // It may be closed already.
            let _ = first.socket.write_all(json(&late).as_bytes());
            second.answer("{\"n\":2}");
            second.on
        });
        assert_eq!(said.unwrap(), answer("{\"n\":2}"));
        assert_ne!(second, first.on);
        placet.end().await;
    }
}

#[tokio::test]
async fn an_allowed_call_that_a_kept_connection_swallowed_is_lost_and_not_sent_again() {
    let mut held = Held::start(false);
    let placet = built(http(&held.url));
    let (said, ()) = tokio::join!(placet.call(false), async {
        held.call().await.answer("{}");
    });
    assert_eq!(said.unwrap(), answer("{}"));

    let (said, ()) = tokio::join!(placet.call(false), async {
        // The server has read it, and ends the connection instead of answering.
        let call = held.call().await;
        call.socket.shutdown(Shutdown::Both).unwrap();
    });

    assert!(is_lost(&said), "{said:?}");
    assert!(held.calls.try_recv().is_err());
    placet.end().await;
}
