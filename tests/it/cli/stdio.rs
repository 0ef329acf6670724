//! `placet stdio`: the built binary as a client's child, in front of a running broker.

mod bridge;

use std::process::Stdio;

use placet::demo::archive::Archive;
use placet::notify::memory::Mailbox;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::placet::{ANN, Placet};
use crate::support::soon;

struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(server: &str, token: &str) -> Self {
        Self::start_at(server, "images", token)
    }

    fn start_at(server: &str, upstream: &str, token: &str) -> Self {
        Self::with(&["--upstream", upstream, "--server", server], token)
    }

    fn with(arguments: &[&str], token: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_placet"))
            .arg("stdio")
            .args(arguments)
            .env("PLACET_AGENT_TOKEN", token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take(), output, child }
    }

    async fn send(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.input.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    /// Writes them at once.
    async fn send_all(&mut self, messages: &[Value]) {
        let lines = messages.iter().fold(String::new(), |text, m| format!("{text}{m}\n"));
        self.input.as_mut().unwrap().write_all(lines.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let line = soon("a line", self.output.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        loop {
            let heard = self.hear().await;
            if heard["id"] == id {
                return heard;
            }
        }
    }

    /// Closes stdin; the child must end by itself, with 0.
    async fn leave(mut self) {
        drop(self.input.take());
        let status = soon("the end of the child", self.child.wait()).await.unwrap();
        assert!(status.success());
    }
}

/// A broker in front of the sample archive, under two names.
async fn broker() -> Placet {
    let sample = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", sample.local_addr().unwrap());
    let archive = Archive::new(Mailbox::default()).router();
    tokio::spawn(async move { axum::serve(sample, archive).await });
    let policy = r#"{"version":"1","tools":{"list_image_sets":{"action":"allow"},
        "delete_image_set":{"action":"require_approval"}}}"#;
    let lines = "[approvals]\nhold = \"300ms\"\nhold_with_progress = \"300ms\"";
    Placet::before_each(&[("images", &url), ("more", &url)])
        .policy(policy)
        .with(lines)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_talks_through_its_child_and_leaves() {
    let placet = broker().await;
    let mut client = Client::start(&placet.base, ANN);

    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
    let begun = client.ask(1, "initialize", hello).await;
    client.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    let called = client.ask(2, "tools/call", json!({"name": "list_image_sets"})).await;
    let held = client.ask(3, "tools/call", json!({"name": "delete_image_set"})).await;

    assert_eq!(begun["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(called["result"]["isError"], false);
    assert_eq!(held["result"]["_meta"]["io.placet/decision"]["code"], "approval_pending");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_client_needs_no_handshake() {
    let placet = broker().await;
    let mut client = Client::start(&placet.base, ANN);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}
    });

    let params = json!({"name": "list_image_sets", "_meta": meta});
    let called = client.ask(1, "tools/call", params).await;

    assert_eq!(called["result"]["resultType"], "complete");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_an_answer_and_not_a_silence() {
    let placet = broker().await;
    let mut client = Client::start(&placet.base, "another-token-that-is-long-enough");

    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
    let refused = client.ask(1, "initialize", hello).await;

    let text = refused["error"]["message"].as_str().unwrap();
    assert!(text.contains("401") && text.contains("token"), "{text}");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_it_leads_to_the_broker_that_has_the_sqlite_file() {
    let placet = broker().await;
    let file = placet.file();
    let mut client =
        Client::with(&["--upstream", "images", "--config", file.to_str().unwrap()], ANN);

    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
    client.ask(1, "initialize", hello).await;
    client.ask(2, "tools/call", json!({"name": "delete_image_set"})).await;

    assert_eq!(placet.approvals("pending").await.len(), 1);
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_it_runs_a_broker_of_its_own_for_as_long_as_its_client() {
    let placet = broker().await;
    let file = placet.file();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("images"));
    // The running one has the other file.
    std::fs::write(&file, text.replace("sqlite:placet.db", "sqlite:own.db")).unwrap();
    let mut client =
        Client::with(&["--upstream", "images", "--config", file.to_str().unwrap()], ANN);

    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
    client.ask(1, "initialize", hello).await;
    let called = client.ask(2, "tools/call", json!({"name": "list_image_sets"})).await;
    let held = client.ask(3, "tools/call", json!({"name": "delete_image_set"})).await;

    assert_eq!(called["result"]["isError"], false);
    assert_eq!(held["result"]["_meta"]["io.placet/decision"]["code"], "approval_pending");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_upstream_all_of_them_are_one_server_in_both_eras() {
    let placet = broker().await;
    let (server, file) = (&placet.base, placet.file());
    let modern = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}
    });

    for arguments in [["--server", server.as_str()], ["--config", file.to_str().unwrap()]] {
        for is_modern in [false, true] {
            let mut client = Client::with(&arguments, ANN);
            if !is_modern {
                let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
                client.ask(1, "initialize", hello).await;
            }
            let params = |mut params: Value| {
                if is_modern {
                    params["_meta"] = modern.clone();
                }
                params
            };

            let listed = client.ask(2, "tools/list", params(json!({}))).await;
            let names: Vec<&str> = listed["result"]["tools"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tool| tool["name"].as_str().unwrap())
                .collect();
            for name in
                ["images__list_image_sets", "images__delete_image_set", "more__list_image_sets"]
            {
                assert!(names.contains(&name), "{arguments:?}: {names:?}");
            }
            let call = params(json!({"name": "more__list_image_sets"}));
            let called = client.ask(3, "tools/call", call).await;
            assert_eq!(called["result"]["isError"], false, "{called}");
            // Another one each time: the end of the last is owed to the identical call.
            let id = format!("{arguments:?}{is_modern}");
            let call = json!({"name": "images__delete_image_set", "arguments": {"id": id}});
            let held = client.ask(4, "tools/call", params(call)).await;
            let code = &held["result"]["_meta"]["io.placet/decision"]["code"];
            assert_eq!(code, "approval_pending", "{held}");
            client.leave().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_longer_than_the_option_says_costs_only_itself() {
    let placet = broker().await;
    let options = ["--upstream", "images", "--server", &placet.base, "--max-line", "1KiB"];
    let mut client = Client::with(&options, ANN);

    client.send(json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "x": "a".repeat(2_000)})).await;
    let refused = client.hear().await;
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
    let begun = client.ask(2, "initialize", hello).await;

    let told = refused["error"]["message"].as_str().unwrap();
    assert!(told.contains("1024 bytes (--max-line)"), "{told}");
    assert!(begun["result"].is_object(), "{begun}");
    client.leave().await;
    placet.end().await;
}
