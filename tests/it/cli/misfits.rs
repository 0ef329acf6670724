//! A policy that does not fit the tools of its upstream: `check --connect` and `serve` say the same.

use std::process::Stdio;

use placet::demo::archive::Archive;
use placet::notify::memory::Mailbox;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::db::Dir;
use crate::support::soon;

const POLICY: &str = r#"{ "version": "1", "hide": ["purge_*"],
  "tools": {
    "lst_image_sets": { "action": "allow" },
    "delete_image_set": { "action": "require_approval", "approval": {
      "when": [ { "path": "args.datastore", "op": "neq", "value": "sandbox" } ] } } } }"#;

/// Place and what follows it, for each misfit of the policy.
const MISFITS: [(&str, &str); 3] = [
    ("/hide/0", r#""purge_*" fits no tool that the upstream lists"#),
    (
        "/tools/lst_image_sets",
        r#""lst_image_sets" fits no tool that the upstream lists; did you mean "list_image_sets"?"#,
    ),
    (
        "/tools/delete_image_set/approval/when/0/path",
        r#""args.datastore" leads nowhere, which counts as a match: "datastore" is no property by the inputSchema of "delete_image_set"; did you mean "datastore_id"?"#,
    ),
];

/// A folder with a configuration, in front of the sample archive.
async fn place() -> Dir {
    let sample = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = sample.local_addr().unwrap();
    let archive = Archive::new(Mailbox::default()).router();
    tokio::spawn(async move { axum::serve(sample, archive).await });
    let dir = Dir::new();
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"sqlite:a.db\"\n\
         [[upstreams]]\nname = \"images\"\nurl = \"http://{address}/mcp\"\npolicy = \"images.json\"\n"
    );
    std::fs::write(dir.0.join("placet.toml"), config).unwrap();
    std::fs::write(dir.0.join("images.json"), POLICY).unwrap();
    dir
}

fn command(dir: &Dir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_placet"));
    command.args(arguments).current_dir(&dir.0).kill_on_drop(true).stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn check_connect_warns_of_what_in_a_policy_fits_no_tool() {
    let dir = place().await;
    let check = async |arguments: &[&str]| {
        let done = soon("the end of check", command(&dir, arguments).output()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };

    // There is no notifier.
    let (code, said, _) = check(&["check"]).await;
    assert!(code == Some(0) && said.ends_with("0 errors, 1 warning\n"), "{said}");
    let (code, said, warned) = check(&["check", "--connect"]).await;
    assert_eq!(code, Some(0), "{warned}");
    assert!(said.ends_with("0 errors, 4 warnings\n"), "{said}");
    for (place, message) in MISFITS {
        // Line and column stand behind the file.
        let line = format!(": {place}: {message}");
        let found =
            warned.lines().any(|l| l.starts_with("warning: images.json:") && l.ends_with(&line));
        assert!(found, "{warned}");
    }
    let (code, said, _) = check(&["check", "--connect", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["ok"]), (Some(0), &Value::Bool(true)));
    let problems = said["problems"].as_array().unwrap()[1..].iter();
    let found: Vec<_> = problems.map(|p| (p["key"].as_str(), p["message"].as_str())).collect();
    assert_eq!(found, MISFITS.map(|(place, message)| (Some(place), Some(message))));
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_says_the_same_in_its_log_once_the_list_is_there() {
    let dir = place().await;
    let mut child = command(&dir, &["serve"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();

    for (place, message) in MISFITS {
        let line = loop {
            let line = soon("a line", lines.next_line()).await.unwrap();
            let line = line.expect("the broker runs until it is told to stop");
            if line.contains("does not fit the tool list") {
                break line;
            }
        };
        assert!(line.contains(&format!("{place}: {message}")), "{line}");
        assert!(line.contains("WARN") && line.contains("images"), "{line}");
    }
}
