//! What reading messages may take: values of one, bytes of all that are read at once.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::fake_http::{self, Answer, Fake};
use crate::support::placet::{ANN, BOB, Era, Placet, got, tool_list};
use crate::support::{LONGEST_WAIT, soon, until};

use super::{done, legacy, usual};

/// An array of so many ones.
fn ones(count: usize) -> String {
    format!("[{}]", vec!["1"; count].join(","))
}

#[tokio::test]
async fn a_message_of_too_many_values_is_refused_with_its_id_and_the_limit_is_named() {
    let (placet, fake) = usual().await;
    let dense = ones(2_000_000);

    for agent in placet.both(ANN).await {
        let refused = got(agent.call("\"x-7\"", "open", &format!(r#"{{"x":{dense}}}"#))).await;
        assert_eq!((refused.status, refused.error()), (400, -32600));
        assert_eq!(refused.json()["id"], "x-7");
        for said in ["250000", "server.max_message_nodes"] {
            assert!(refused.body.contains(said), "{}", refused.body);
        }
        let fine = got(agent.call("8", "open", &format!(r#"{{"x":{}}}"#, ones(240_000)))).await;
        assert_eq!(fine.status, 200);
    }
    assert_eq!(fake.seen_of("tools/call").len(), 2);
    placet.end().await;
}

#[tokio::test]
async fn the_values_of_a_message_are_configured() {
    let fake = legacy(done).await;
    let lines = "[server]\nmax_message_nodes = 50";
    let placet = Placet::before(&fake.url).with(lines).start().await;

    for agent in [placet.modern(ANN), placet.agent(ANN, Era::Legacy { session: None })] {
        for values in [ones(60), format!("[{}]", vec!["{\"\":[]}"; 30].join(","))] {
            let refused = got(agent.call("1", "open", &format!(r#"{{"x":{values}}}"#))).await;
            assert_eq!((refused.status, refused.error()), (400, -32600), "{values}");
        }
    }
    assert_eq!(
        got(placet.modern(ANN).call("1", "open", &format!(r#"{{"x":{}}}"#, ones(30)))).await.status,
        200
    );
    placet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn notifications_on_their_way_are_bounded_per_agent_and_the_calls_go_on() {
    // The server takes none of them before the end of the test.
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let end = std::sync::Arc::new(std::sync::Mutex::new(end));
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "notifications/roots/list_changed" => {
            let _ = end.lock().map(|end| end.recv_timeout(LONGEST_WAIT));
            Answer::Status(202)
        }
        "tools/list" => fake_http::result(&tool_list()),
        _ => fake_http::legacy(seen).unwrap_or_else(|| done(seen)),
    })
    .await;
    let lines = "[server]\nmax_notifications_per_agent = 3";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let (ann, bob) = (placet.legacy(ANN).await, placet.legacy(BOB).await);
    // Notifications go where a connection is.
    got(ann.call("0", "open", "{}")).await;

    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(ann.notify("notifications/roots/list_changed", "{}").await.status);
    }

    assert_eq!(statuses, [202, 202, 202, 429, 429]);
    assert_eq!(bob.notify("notifications/roots/list_changed", "{}").await.status, 202);
    assert_eq!(got(ann.call("1", "open", "{}")).await.status, 200);
    drop(ended);
    until("they arrived", async || {
        ann.notify("notifications/roots/list_changed", "{}").await.status == 202
    })
    .await;
    placet.end().await;
}

/// The program that reads one large message of an agent at a time.
async fn one_at_a_time(body_timeout: &str) -> Placet {
    let fake = legacy(done).await;
    let lines = format!(
        "[server]\nmax_body = \"1MiB\"\nmax_reading_per_agent = \"1MiB\"\n\
         max_reading = \"4MiB\"\nbody_timeout = \"{body_timeout}\""
    );
    Placet::before(&fake.url).with(&lines).start().await
}

#[tokio::test]
async fn large_messages_wait_for_each_other_and_all_are_answered() {
    let placet = one_at_a_time("30s").await;
    let agent = placet.modern(ANN);
    let large = format!(r#"{{"x":"{}"}}"#, "a".repeat(900 << 10));

    let all = (0..8).map(|n| tokio::spawn(got(agent.call(&n.to_string(), "open", &large))));
    for one in all.collect::<Vec<_>>() {
        assert_eq!(soon("an answer", one).await.unwrap().status, 200);
    }
    placet.end().await;
}

#[tokio::test]
async fn bodies_that_do_not_come_keep_only_their_own_agent_waiting_and_not_for_ever() {
    let placet = one_at_a_time("4s").await;
    let host = placet.base.strip_prefix("http://").unwrap().to_owned();
    let head = format!(
        "POST /mcp/u HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ANN}\r\n\
         content-type: application/json\r\ncontent-length: 1048576\r\n\r\n{{"
    );
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&host).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // What is small is read at once, and so is another agent's.
    let large = format!(r#"{{"x":"{}"}}"#, "a".repeat(900 << 10));
    let others = async {
        assert_eq!(got(placet.modern(ANN).call("1", "open", "{}")).await.status, 200);
        assert_eq!(got(placet.modern(BOB).call("1", "open", &large)).await.status, 200);
    };
    tokio::time::timeout(Duration::from_millis(3_500), others).await.unwrap();

    let mut refused = 0;
    for mut stream in slow {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !answer.ends_with(b"}") {
            let read = soon("an answer", stream.read(&mut buffer)).await.unwrap();
            assert!(read > 0);
            answer.extend_from_slice(&buffer[..read]);
        }
        let answer = String::from_utf8(answer).unwrap();
        if answer.starts_with("HTTP/1.1 429") {
            assert!(answer.contains("retry-after: 1"), "{answer}");
            assert!(answer.contains("server.max_reading_per_agent"), "{answer}");
            refused += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
    }
    assert!(refused >= 3, "{refused}");
    placet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_in_flight_are_bounded_in_bytes_per_agent_and_in_all_and_those_beyond_are_told() {
    // The server answers no call before the end of the test.
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let end = std::sync::Arc::new(std::sync::Mutex::new(end));
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "tools/call" => {
            let _ = end.lock().map(|end| end.recv_timeout(LONGEST_WAIT));
            done(seen)
        }
        "tools/list" => fake_http::result(&tool_list()),
        _ => fake_http::legacy(seen).unwrap_or_else(|| done(seen)),
    })
    .await;
    let lines = "[server]\nmax_body = \"64KiB\"\nmax_under_way_per_agent = \"128KiB\"\n\
                 max_under_way = \"192KiB\"\nbody_timeout = \"1s\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let (ann, bob) = (placet.legacy(ANN).await, placet.legacy(BOB).await);
    let large = format!(r#"{{"x":"{}"}}"#, "a".repeat(50 << 10));

    // Two of 50 KiB fit into 128 KiB; a client that leaves leaves its call behind.
    for id in ["1", "2"] {
        let call = tokio::spawn(got(ann.call(id, "open", &large)));
        until("it is under way", async || {
            fake.seen_of("tools/call").len() == id.parse::<usize>().unwrap()
        })
        .await;
        call.abort();
    }
    let refused = got(ann.call("3", "open", &large)).await;
    let own = tokio::spawn(got(bob.call("1", "open", &large)));
    until("another agent's has room", async || fake.seen_of("tools/call").len() == 3).await;
    let full = got(bob.call("2", "open", &large)).await;

    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("server.max_under_way_per_agent"), "{}", refused.body);
    assert_eq!(full.status, 503);
    assert!(full.body.contains("(server.max_under_way)"), "{}", full.body);
    // What ends a request always has room, and makes some.
    for id in ["1", "2"] {
        ann.notify("notifications/cancelled", &format!(r#"{{"requestId":{id}}}"#)).await;
    }
    drop(ended);
    assert_eq!(soon("an answer", own).await.unwrap().status, 200);
    for id in ["4", "5", "6"] {
        assert_eq!(got(ann.call(id, "open", &large)).await.status, 200);
    }
    placet.end().await;
}
