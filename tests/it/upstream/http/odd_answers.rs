//! What servers really answer over HTTP: what can be tied to its request is its answer, whatever
//! status, type or spelling it comes under, and what is none is told at once and by its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use placet::upstream::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::fake_http::{Answer, Fake, event, result};
use crate::support::upstreams::{ana, built, http, is_lost, is_not_sent};

fn answer(raw: &str) -> Reply {
    Reply::Result(raw.to_owned())
}

fn plain(headers: Vec<(&'static str, &'static str)>, body: &str) -> Answer {
    Answer::Plain(200, headers, body.as_bytes().to_vec())
}

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENTS: (&str, &str) = ("content-type", "text/event-stream");

#[tokio::test]
async fn what_can_be_tied_to_its_request_is_its_answer_with_its_bytes() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let results = [r#"{"a":1,"a":2}"#, r#"{"t":"\ud800"}"#, r#"{"n": NaN}"#, deep.as_str()];
    let messages = [
        "{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":$R}",
        "{\"jsonrpc\":\"2.0\",\"id\":\"$ID\",\"result\":$R}",
        "{\"jsonrpc\":\"2.0\",\"id\":$ID.0,\"result\":$R,\"error\":null}",
        "\u{feff}{\"id\":$IDe0,\"result\":$R}\r\n",
        "{\"result\":$R,\"jsonrpc\":\"2.0\",\"id\":$ID,\"id\":$ID}",
    ];
    for (n, message) in messages.iter().enumerate() {
        let raw = results[n % results.len()];
        let message = message.replace("$R", raw);
        let (json, lines) = (message.clone(), message.replace(['\r', '\n'], ""));
        for given in [
            Answer::Json(200, json.clone()),
            plain(vec![], &json),
            plain(vec![("content-type", "text/html")], &json),
            plain(vec![EVENTS], &json),
            Answer::Stream(vec![(Duration::ZERO, format!("data:  {lines} \r\n\r\n"))]),
            plain(vec![EVENTS], &format!("event: result\ndata: {lines}\n\n")),
            plain(vec![EVENTS], &format!(": hi\n\ndata: {lines}")),
            plain(vec![], &format!("event: message\ndata: {lines}\n\n")),
        ] {
            let shown = format!("{given:.150?}");
            let fake = Fake::legacy(move |_| given.clone()).await;
            let placet = built(http(&fake.url));

            let got = placet.call(true).await.unwrap_or_else(|e| panic!("{shown}: {e}"));
            assert_eq!(got, answer(raw), "{shown}");

            assert_eq!(fake.seen_of("tools/call").len(), 1, "{shown}");
            placet.end().await;
        }
    }
}

#[tokio::test]
async fn a_result_that_no_reader_takes_is_the_answer_as_it_came_while_it_is_clear_where_it_ends() {
    for raw in [
        "{\"t\":\"a\tb\u{1}\u{7f}\"}",
        r#"{"t":"a"b"c"}"#,
        r#"{"t" "b",,}"#,
        r#"{"t":'it',u:1}"#,
        r#"{"t":"\x41"}"#,
    ] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{raw}}}"#);
        for given in [Answer::Json(200, message.clone()), Answer::Stream(vec![event(&message)])] {
            let shown = format!("{given:?}");
            let fake = Fake::legacy(move |_| given.clone()).await;
            let placet = built(http(&fake.url));

            assert_eq!(placet.call(true).await.unwrap(), answer(raw), "{shown}");

            assert_eq!(fake.seen_of("tools/call").len(), 1, "{shown}");
            placet.end().await;
        }
    }
    // Where it ends can't be said: what it was is told at once.
    for raw in [r#"{"t":"a"b"}"#, r#"{"t":1]"#] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{raw}}}"#);
        let fake = Fake::legacy(move |_| Answer::Json(200, message.clone())).await;
        let placet = built(http(&fake.url));

        let got = placet.call(true).await;

        assert!(is_lost(&got), "{raw}: {got:?}");
        placet.end().await;
    }
}

#[tokio::test]
async fn an_error_that_names_its_request_is_its_answer_under_any_status() {
    for status in [200, 202, 400, 401, 403, 404, 409, 422, 429, 500, 503] {
        let text = r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32099,"message":"no","n":1.0}}"#;
        let fake = Fake::legacy(move |_| Answer::Json(status, text.to_owned())).await;
        let placet = built(http(&fake.url));

        let (once, again) = (placet.call(true).await, placet.call(false).await);

        let want = Reply::Error(r#"{"code":-32099,"message":"no","n":1.0}"#.to_owned());
        assert_eq!((once.unwrap(), again.unwrap()), (want.clone(), want), "{status}");
        assert_eq!(fake.seen_of("tools/call").len(), 2, "{status}");
        placet.end().await;
    }
}

#[tokio::test]
async fn an_error_without_an_id_answers_the_one_request_that_was_posted() {
    let text = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"no"}}"#;
    for given in [
        Answer::Json(200, text.to_owned()),
        Answer::Json(500, text.to_owned()),
        Answer::Stream(vec![event(text)]),
    ] {
        let shown = format!("{given:?}");
        let fake = Fake::legacy(move |_| given.clone()).await;
        let placet = built(http(&fake.url));

        let got = placet.call(true).await;

        let want = Reply::Error(r#"{"code":-32603,"message":"no"}"#.to_owned());
        assert_eq!(got.unwrap(), want, "{shown}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_after_the_answer_has_brought_it() {
    let broken = [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    for (n, head) in broken.into_iter().enumerate() {
        let url = scripted(move |_, id, method| {
            let answer = body_of(method, id);
            if method != "tools/call" {
                return (whole(&answer), true);
            }
            let text = if n == 0 {
                answer
            } else {
                let data = format!("data: {answer}\n\n");
                format!("{:x}\r\n{data}\r\n", data.len())
            };
            (format!("{head}{text}"), false)
        })
        .await;
        let placet = built(http(&url));

        assert_eq!(placet.call(true).await.unwrap(), answer("{}"), "{head}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_compressed_answer_is_not_asked_for_and_named_where_it_comes() {
    let fake = Fake::legacy(|_| {
        Answer::Plain(200, vec![JSON, ("content-encoding", "gzip")], b"\x1f\x8b\x08".to_vec())
    })
    .await;
    let placet = built(http(&fake.url) + "headers.accept-encoding = \"gzip\"");

    let got = placet.call(true).await;

    assert!(is_lost(&got), "{got:?}");
    assert!(got.unwrap_err().to_string().contains("Content-Encoding gzip"));
    for seen in fake.seen().iter().filter(|s| s.verb != "DELETE") {
        assert_eq!(seen.header("accept-encoding"), "identity", "{}", seen.method());
    }
    placet.end().await;
}

#[tokio::test]
async fn a_redirect_names_where_to_and_the_key_to_change() {
    let to = ("location", "https://u:p@other.example/mcp/?token=S");
    let fake = Fake::start(move |_| Answer::Plain(308, vec![to], Vec::new())).await;
    let placet = built(http(&fake.url));

    let got = placet.call(true).await;

    assert!(is_not_sent(&got), "{got:?}");
    let told = got.unwrap_err().to_string();
    for word in ["HTTP 308", "Location https://other.example/mcp/:", "url of [[upstreams]] \"u\""] {
        assert!(told.contains(word), "{told}");
    }
    assert!(!told.contains("token") && !told.contains("u:p"), "{told}");
    placet.end().await;
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_without_saying_so_is_connected_to_anew() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    // The second request on a connection is read, and the connection closed on it.
    let url = scripted(move |nth, id, method| {
        if method == "tools/call" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        match nth {
            0 => (whole(&body_of(method, id)), true),
            _ => (String::new(), false),
        }
    })
    .await;
    let placet = built(http(&url));
    placet.upstream.facts(&ana()).await.unwrap();

    let (once, again) = (placet.call(true).await, placet.call(false).await);

    assert_eq!((once.unwrap(), again.unwrap()), (answer("{}"), answer("{}")));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    placet.end().await;
}

#[tokio::test]
async fn a_list_whose_tools_are_not_quite_json_is_a_list() {
    let list =
        r#"{"tools":[{"name":"t","inputSchema":{"type":"object","default":NaN,"default":1}}]}"#;
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" => result(list),
        _ => crate::support::fake_http::legacy(seen).unwrap_or_else(|| result("{}")),
    })
    .await;
    let placet = built(http(&fake.url));

    let catalog = placet.upstream.refresh().await.unwrap();

    assert_eq!(
        catalog.find("t").unwrap().raw,
        r#"{"name":"t","inputSchema":{"type":"object","default":1}}"#
    );
    placet.end().await;
}

/// What a legacy server answers.
fn body_of(method: &str, id: &str) -> String {
    let result = match method {
        "initialize" => {
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s"}}"#
        }
        "tools/list" => r#"{"tools":[{"name":"t","inputSchema":{}}]}"#,
        "server/discover" => {
            return format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no"}}}}"#
            );
        }
        _ => "{}",
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn whole(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{body}", body.len())
}

/// A server that answers the nth request of a connection, of this id and method, with these bytes,
/// and then keeps the connection or closes it.
async fn scripted(
    answer: impl Fn(usize, &str, &str) -> (String, bool) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                for nth in 0.. {
                    let mut bytes = Vec::new();
                    while !crate::support::fake_http::is_whole(&bytes) {
                        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let body = text.split_once("\r\n\r\n").unwrap().1;
                    let node = placet::domain::json::parse(body).ok();
                    let of = |key: &str| {
                        let found = node.as_ref().and_then(|n| n.get(key));
                        found.map_or_else(String::new, |n| n.raw.trim_matches('"').to_owned())
                    };
                    let (said, keeps) = answer(nth, &of("id"), &of("method"));
                    let _ = socket.write_all(said.as_bytes()).await;
                    if !keeps {
                        return;
                    }
                }
            });
        }
    });
    url
}
