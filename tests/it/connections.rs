//! Connections over real TCP: those that open many and say little, or take their time, lock nobody
//! out, and what is answered may take as long as it needs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::mcp::{done, legacy};
use crate::support::fake_http::Fake;
use crate::support::placet::{ANN, Era, Placet, Stream, got};
use crate::support::{soon, until};

/// The program with these lines in `[server]`.
async fn with(lines: &str) -> (Placet, Fake) {
    let fake = legacy(done).await;
    let placet = Placet::before(&fake.url).with(&format!("[server]\n{lines}")).start().await;
    (placet, fake)
}

fn address(placet: &Placet) -> SocketAddr {
    placet.base.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A connection on which this was sent.
async fn saying(placet: &Placet, text: &str) -> TcpStream {
    let mut stream = soon("a connection", TcpStream::connect(address(placet))).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// The same from another address of this machine.
async fn from(last: u8, placet: &Placet, text: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    let mut stream = soon("a connection", socket.connect(address(placet))).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Everything that comes until the connection is closed.
async fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end, too.
    let _ = soon("the end of a connection", stream.read_to_end(&mut all)).await;
    String::from_utf8(all).unwrap()
}

/// Until this was said on it.
async fn hears(stream: &mut TcpStream, what: &str) {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(what) {
        let read = soon(what, stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "closed after {heard:?}");
        heard.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

fn ping(placet: &Placet) -> String {
    format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", address(placet))
}

fn post(placet: &Placet, path: &str, headers: &str, body: &str) -> String {
    let host = address(placet);
    format!("POST {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n{body}")
}

/// A stream of an agent's session, which stays busy.
async fn busy(placet: &Placet, last: u8) -> TcpStream {
    let agent = placet.legacy(ANN).await;
    let Era::Legacy { session: Some(session) } = &agent.era else { panic!() };
    let text = format!(
        "GET /mcp/u HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\
         authorization: Bearer {ANN}\r\nmcp-session-id: {session}\r\n\r\n",
        address(placet)
    );
    let mut stream = from(last, placet, &text).await;
    hears(&mut stream, "text/event-stream").await;
    stream
}

#[tokio::test]
async fn many_that_begin_a_request_and_stop_lock_nobody_out() {
    let (placet, _fake) = with("max_connections = 8\nmax_connections_per_address = 8").await;
    let agent = placet.legacy(ANN).await;
    let held = tokio::spawn(got(agent.call("1", "gated", "{}")));
    placet.approval("pending").await;

    let mut silent = Vec::new();
    for n in 0..260 {
        let text = match n % 4 {
            0 => "GET / HTTP/1.1\r\n".to_owned(),
            1 => String::new(),
            2 => post(&placet, "/sign-in", "content-length: 9\r\n", "em"),
            _ => post(&placet, "/mcp/u", "transfer-encoding: chunked\r\n", "4\r\n{\"a"),
        };
        silent.push(saying(&placet, &text).await);
    }
    let began = Instant::now();
    let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = soon("an answer", fresh.get(format!("{}/healthz", placet.base)).send()).await;

    assert_eq!(answer.unwrap().status(), 200);
    assert!(began.elapsed() < Duration::from_secs(5), "before any time is over");
    assert_eq!(got(agent.call("2", "open", "{}")).await.status, 200);
    placet.decide("approve").await;
    assert_eq!(soon("the held call", held).await.unwrap().code(), "approved");
    drop(silent);
    placet.end().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_closed_in_time_also_where_it_dribbles() {
    let (placet, _fake) = with("header_timeout = \"300ms\"").await;

    let silent = saying(&placet, "GET / HTTP/1.1\r\n").await;
    let mut dribbling = saying(&placet, "GET / HTTP/1.1\r\n").await;
    let dribbles = async {
        // Until it is closed.
        while dribbling.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };

    assert_eq!(rest(silent).await, "");
    soon("the end of what dribbles", dribbles).await;
    placet.end().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_answered_and_closed() {
    let (placet, fake) = with("body_timeout = \"300ms\"").await;
    let bearer = format!("authorization: Bearer {ANN}\r\ncontent-type: application/json\r\n");

    for (path, headers) in [
        ("/mcp/u", format!("{bearer}content-length: 99\r\n")),
        ("/mcp/u", format!("{bearer}transfer-encoding: chunked\r\n")),
        ("/mcp/u/messages", format!("{bearer}content-length: 99\r\n")),
        (
            "/sign-in",
            "content-type: application/x-www-form-urlencoded\r\ncontent-length: 99\r\n".to_owned(),
        ),
    ] {
        let mut stream = saying(&placet, &post(&placet, path, &headers, "4\r\n{\"a\"\r\n")).await;
        if path == "/mcp/u/messages" {
            // Nothing is read for a stream that does not exist.
            hears(&mut stream, "HTTP/1.1 404").await;
            continue;
        }
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path} {headers}: {answer}");
        assert!(answer.contains("server.body_timeout"), "{answer}");
    }
    let headers = format!("{bearer}content-length: 9999\r\n");
    let (mut reads, mut writes) =
        saying(&placet, &post(&placet, "/mcp/u", &headers, "{")).await.into_split();
    let dribbles = async {
        while writes.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut said = Vec::new();
    let listens = async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = reads.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..read]);
        }
    };
    soon("the end of what dribbles", futures_util::future::join(dribbles, listens)).await;
    assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn what_is_idle_is_closed_and_streams_and_held_calls_live_on() {
    let lines = "header_timeout = \"200ms\"\nbody_timeout = \"200ms\"\nidle_timeout = \"300ms\"";
    let (placet, _fake) = with(lines).await;
    let agent = placet.legacy(ANN).await;
    let mut stream = Stream::open(agent.http(Method::GET)).await;
    let held = tokio::spawn(got(agent.plain().call("1", "gated", "{}")));
    let mut idle = saying(&placet, &ping(&placet)).await;
    hears(&mut idle, "HTTP/1.1 200").await;

    // Two requests over it, then nothing more.
    idle.write_all(ping(&placet).as_bytes()).await.unwrap();
    hears(&mut idle, "HTTP/1.1 200").await;
    rest(idle).await;
    // By now all times are over more than once.
    rest(saying(&placet, "GET / HTTP/1.1\r\n").await).await;
    rest(saying(&placet, "GET / HTTP/1.1\r\n").await).await;

    assert!(stream.next().await.is_some());
    placet.decide("approve").await;
    assert_eq!(soon("the held call", held).await.unwrap().code(), "approved");
    placet.end().await;
}

#[tokio::test]
async fn of_busy_connections_one_address_has_its_share_and_a_trusted_proxy_has_none() {
    let lines = "max_connections = 12\nmax_connections_per_address = 2\n\
                 trusted_proxies = [\"127.0.0.9\"]";
    let (placet, _fake) = with(lines).await;
    let own = [busy(&placet, 2).await, busy(&placet, 2).await];

    let refused = rest(from(2, &placet, "").await).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("max_connections_per_address") && refused.contains("retry-after: 1"));
    let mut other = from(3, &placet, &ping(&placet)).await;
    hears(&mut other, "HTTP/1.1 200").await;
    let proxied = [busy(&placet, 9).await, busy(&placet, 9).await, busy(&placet, 9).await];

    drop(own);
    let last = ping(&placet).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    until("its place is free", async || {
        rest(from(2, &placet, &last).await).await.starts_with("HTTP/1.1 200")
    })
    .await;
    drop((other, proxied));
    placet.end().await;
}

#[tokio::test]
async fn where_all_are_busy_one_more_waits_until_there_is_room() {
    let (placet, _fake) = with("max_connections = 3\nmax_connections_per_address = 3").await;
    let mut all = vec![busy(&placet, 2).await, busy(&placet, 3).await, busy(&placet, 4).await];

    let mut waiting = from(5, &placet, &ping(&placet)).await;
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.readable()).await;
    assert!(early.is_err(), "it is not accepted");

    all.pop();
    hears(&mut waiting, "HTTP/1.1 200").await;
    drop((all, waiting));
    placet.end().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered() {
    let (placet, _fake) = with("max_headers = \"16KiB\"").await;
    let text = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(17 << 10));

    let answer = rest(saying(&placet, &text).await).await;

    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    placet.end().await;
}
