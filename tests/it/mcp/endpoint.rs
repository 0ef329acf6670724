//! What is refused before any policy is asked, in both eras.

use reqwest::Method;

use crate::support::placet::{ANN, BOB, Era, got};

use super::{Placet, done, legacy, usual};

#[tokio::test]
async fn only_an_agents_token_is_accepted_and_only_at_its_own_upstreams() {
    let (placet, fake) = usual().await;

    for era in [Era::Legacy { session: None }, Era::Modern] {
        let stranger = placet.agent("no-such-token-anywhere", era.clone());
        let refused = got(stranger.call("1", "open", "{}")).await;
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").starts_with("Bearer"));

        let bob = placet.agent(BOB, era);
        let foreign = got(bob.at("other").call("1", "open", "{}")).await;
        let unknown = got(bob.at("nowhere").call("1", "open", "{}")).await;
        assert_eq!((foreign.status, unknown.status), (404, 404));
        assert_eq!(foreign.body, unknown.body);
    }

    let bare = placet.http.post(format!("{}/mcp/u", placet.base)).body("{}");
    assert_eq!(got(bare).await.status, 401);
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn the_agents_own_token_cookies_and_host_reach_no_upstream() {
    let (placet, fake) = usual().await;

    for agent in placet.both(ANN).await {
        let call = agent.call("1", "open", "{}");
        let call = call.header("cookie", "a=1").header("x-own", "1").header("forwarded", "for=x");
        assert_eq!(got(call).await.status, 200);
    }

    let seen = fake.seen_of("tools/call");
    assert_eq!(seen.len(), 2);
    for request in seen {
        for header in ["authorization", "cookie", "x-own", "forwarded"] {
            assert!(!request.headers.contains_key(header), "{header}");
        }
        assert!(fake.url.contains(request.headers["host"].to_str().unwrap()));
    }
    placet.end().await;
}

#[tokio::test]
async fn agents_tokens_are_guessed_at_a_throttled_rate_and_a_known_agent_goes_on() {
    let placet = usual().await.0;
    let limit = placet.broker.config().server.wrong_tokens;
    let era = || Era::Legacy { session: None };
    let known = got(placet.agent(ANN, era()).call("1", "open", "{}")).await.status;
    let guess = async |n: u32| {
        got(placet.agent(&format!("guessed-token-{n}"), era()).call("1", "open", "{}")).await
    };
    for n in 0..limit {
        assert_eq!(guess(n).await.status, 401, "{n}");
    }

    let refused = guess(limit).await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() <= 60);
    let right = got(placet.agent(BOB, era()).call("1", "open", "{}")).await;
    assert_eq!(right.status, 429, "not even the right one is told");
    let again = got(placet.agent(ANN, era()).call("1", "open", "{}")).await;
    assert_eq!(again.status, known);
    let stream = placet.http.get(format!("{}/mcp/u/sse", placet.base)).bearer_auth("guess-x");
    assert_eq!(got(stream).await.status, 429, "over HTTP+SSE neither");
    placet.end().await;
}

#[tokio::test]
async fn a_request_of_which_it_is_unclear_what_host_it_is_for_is_a_bad_request() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let placet = usual().await.0;
    let address = placet.base.strip_prefix("http://").unwrap();
    let status = async |head: String| {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{head}Connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer.get(9..12).unwrap_or_default().to_owned()
    };

    for path in ["/", "/mcp/u", "/api/v1/me", "/healthz"] {
        for hosts in [
            format!("Host: {address}\r\nHost: {address}\r\n"),
            format!("Host: {address}\r\nhost: evil.example\r\n"),
            String::new(),
        ] {
            let answer = status(format!("GET {path} HTTP/1.1\r\n{hosts}")).await;
            assert_eq!(answer, "400", "{path} {hosts}");
        }
        let absolute = format!("GET http://evil.example{path} HTTP/1.1\r\nHost: {address}\r\n");
        assert_eq!(status(absolute).await, "400", "{path}");
    }
    assert_eq!(status(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n")).await, "200");
    assert_eq!(status("GET /healthz HTTP/1.0\r\n".to_owned()).await, "200");
    assert_eq!(status("GET / HTTP/1.1\r\nHost: evil.example\r\n".to_owned()).await, "403");
    placet.end().await;
}

#[tokio::test]
async fn of_a_header_that_counts_there_may_be_one_and_the_answer_names_it() {
    let (placet, fake) = usual().await;
    let origin = placet.base.clone();
    let page = |path: &str| placet.http.get(format!("{}{path}", placet.base));
    for (header, values) in [
        ("authorization", ["Bearer a", "Bearer b"]),
        ("content-type", ["application/json", "text/plain"]),
        ("origin", [origin.as_str(), "https://evil.example"]),
        ("mcp-session-id", ["a", "b"]),
        ("mcp-protocol-version", ["2025-11-25", "2026-07-28"]),
        ("mcp-method", ["tools/call", "tools/list"]),
        ("mcp-name", ["open", "gated"]),
        ("mcp-param-region", ["eu", "us"]),
        ("last-event-id", ["1", "2"]),
        ("placet-via", ["cli", "web"]),
    ] {
        for twice in [values, [values[0]; 2]] {
            let mut requests = vec![page("/"), page("/api/v1/me"), page("/mcp/u/sse")];
            requests.push(placet.http.post(format!("{}/mcp/u", placet.base)).body("{}"));
            requests.push(placet.http.post(format!("{}/sign-in", placet.base)).body("email=a"));
            for request in requests {
                let both = request.header(header, twice[0]).header(header, twice[1]);
                let refused = got(both).await;
                assert_eq!(refused.status, 400, "{header}: {refused:?}");
                let why = format!("send one {header} header, not several");
                assert!(refused.body.contains(&why), "{refused:?}");
            }
        }
    }
    assert!(fake.seen_of("tools/call").is_empty());

    // Of these there may be several: they are lists.
    for agent in placet.both(ANN).await {
        let call = agent.call("1", "open", "{}").header("accept", "text/plain");
        let call = call.header("cookie", "a=1").header("cookie", "b=2");
        let call = call.header("x-forwarded-for", "1.1.1.1").header("x-forwarded-for", "2.2.2.2");
        assert_eq!(got(call).await.status, 200);
    }
    placet.end().await;
}

#[tokio::test]
async fn a_body_must_be_json_by_its_header_and_not_too_large() {
    let fake = legacy(done).await;
    let lines = "[server]\nmax_body = \"64KiB\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agents = placet.both(ANN).await;

    for agent in agents {
        let text = agent.http(Method::POST).header("content-type", "text/plain").body("{}");
        assert_eq!(got(text).await.status, 415);
        assert_eq!(got(agent.http(Method::POST).body("{}")).await.status, 415);

        let large = format!(r#"{{"x":"{}"}}"#, "a".repeat(4 << 20));
        let refused = got(agent.call("1", "open", &large)).await;
        assert_eq!(refused.status, 413);
        assert!(refused.body.contains("server.max_body"), "{}", refused.body);
    }
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_and_named_origins_get_cors() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);

    let foreign = got(agent.call("1", "open", "{}").header("origin", "https://evil.example")).await;
    assert_eq!(foreign.status, 403);
    let rebound = got(agent.call("1", "open", "{}").header("host", "evil.example")).await;
    assert_eq!(rebound.status, 403);
    assert!(foreign.header("access-control-allow-origin").is_empty());

    let origin = "https://inspector.example.org";
    let fine = got(agent.call("1", "open", "{}").header("origin", origin)).await;
    assert_eq!(fine.status, 200);
    assert_eq!(fine.header("access-control-allow-origin"), origin);
    assert!(fine.header("access-control-expose-headers").contains("Mcp-Session-Id"));

    let preflight = placet
        .http
        .request(Method::OPTIONS, format!("{}/mcp/u", placet.base))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,mcp-param-region");
    let preflight = got(preflight).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    assert!(preflight.header("access-control-allow-headers").contains("mcp-param-region"));
    placet.end().await;
}

#[tokio::test]
async fn unknown_paths_are_json_and_never_a_redirect() {
    let (placet, _fake) = usual().await;

    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server/mcp/u",
        "/mcp/",
        "/mcp/u/more",
        "/register",
    ] {
        let answer = got(placet.http.get(format!("{}{path}", placet.base))).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.header("content-type").contains("json"), "{path}");
        answer.json();
    }
    placet.end().await;
}

#[tokio::test]
async fn what_parsers_could_read_differently_is_refused_with_its_id() {
    let (placet, fake) = usual().await;
    let deep = format!("{}1{}", "[".repeat(80), "]".repeat(80));
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":"x-7","method":"tools/call","params":{params}}}"#)
    };

    for agent in placet.both(ANN).await {
        for params in [
            r#"{"name":"open","name":"denied"}"#,
            r#"{"name":"open","n\u0061me":"denied"}"#,
            r#"{"name":"open","arguments":{"a":{"b":1,"b":2}}}"#,
            r#"{"name":"open","Arguments":{}}"#,
            r#"{"name":"open","argument\u017f":{}}"#,
            r#"{"name":"open","arguments":{"a":"\ud800"}}"#,
            &format!(r#"{{"name":"open","arguments":{{"a":{deep}}}}}"#),
        ] {
            let refused = got(agent.post(&call(params))).await;
            assert_eq!((refused.status, refused.error()), (400, -32600), "{params}");
            assert_eq!(refused.json()["id"], "x-7", "{params}");
        }
        let batch = format!("[{}]", call(r#"{"name":"open"}"#));
        for (body, code) in
            [("{\"jsonrpc\":", -32700), (batch.as_str(), -32600), ("\"text\"", -32600)]
        {
            let refused = got(agent.post(body)).await;
            assert_eq!((refused.status, refused.error()), (400, code), "{body}");
        }
        let bytes = agent.http(Method::POST).header("content-type", "application/json");
        let refused = got(bytes.body(b"{\"a\":\"\xff\"}".to_vec())).await;
        assert_eq!((refused.status, refused.error()), (400, -32700));

        let list = got(agent.call("8", "open", "[1]")).await;
        assert_eq!((list.error(), &list.json()["id"]), (-32602, &8.into()));
    }
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn ids_come_back_as_they_were_sent() {
    let (placet, _fake) = usual().await;

    for agent in placet.both(ANN).await {
        for id in ["\"a\\u0062\"", "-9007199254740993123", "0", "\"\""] {
            let answer = got(agent.call(id, "open", "{}")).await;
            assert!(answer.body.contains(&format!("\"id\":{id},")), "{}", answer.body);
        }
    }
    placet.end().await;
}
