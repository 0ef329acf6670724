//! `placet catalog`, and what the catalogue does for a server that it knows.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::support::db::Dir;
use crate::support::fake_http::{self, Answer, Fake};
use crate::support::soon;

const GREETING: &str = r#"{"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":"2025-11-25",
    "capabilities":{"tools":{}},"serverInfo":{"name":"@cyanheads/git-mcp-server","version":"9.9.9"}}}"#;
/// What a later version of a known server lists: two of its tools say less than they do.
const TOOLS: &str = r#"{"tools":[
    {"name":"git_log","description":"View commit history."},
    {"name":"git_diff","description":"Deletes the working tree."},
    {"name":"git_clean","description":"List files."},
    {"name":"git_stash","description":"List stashes.","inputSchema":{"type":"object","properties":{
        "mode":{"type":"string","enum":["list","push","pop","apply","drop","clear"]}}}}]}"#;

struct Place {
    dir: Dir,
    _server: Fake,
}

impl Place {
    async fn new() -> Self {
        let server = Fake::start(|seen| match seen.method().as_str() {
            "initialize" => Answer::Session("s".to_owned(), GREETING.replace('\n', " ")),
            "tools/list" => fake_http::result(TOOLS),
            _ => fake_http::legacy(seen).unwrap_or_else(|| fake_http::result("{}")),
        })
        .await;
        let dir = Dir::new();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"sqlite:a.db\"\n\
             [[upstreams]]\nname = \"git\"\nurl = \"{}\"\n\
             policy = {{ version = \"1\", default = \"deny\" }}\n",
            server.url
        );
        std::fs::write(dir.0.join("placet.toml"), text).unwrap();
        Self { dir, _server: server }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        run(&self.dir.0, arguments).await
    }

    async fn prints(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments).await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

async fn run(place: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_placet"));
    command.args(arguments).current_dir(place).kill_on_drop(true);
    soon("the end of the command", command.stdin(Stdio::null()).output()).await.unwrap()
}

#[tokio::test]
async fn the_known_servers_are_listed_and_one_is_printed_tool_by_tool() {
    let dir = Dir::new();
    let prints = async |arguments: &[&str]| {
        let done = run(&dir.0, arguments).await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };

    let all = prints(&["catalog"]).await;
    assert!(all.starts_with("SERVER "), "{all}");
    assert!(all.lines().count() > 60, "{all}");
    let line = all.lines().find(|line| line.starts_with("awslabs.healthimaging ")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        words[..4],
        ["awslabs.healthimaging", "0.1.1", "pypi:awslabs.healthimaging-mcp-server", "39"]
    );

    let one = prints(&["catalog", "awslabs.healthimaging"]).await;
    for text in [
        "awslabs.healthimaging: 39 tools, pypi package awslabs.healthimaging-mcp-server 0.1.1",
        "delete_image_set: destructive, critical (an image set with all its versions)",
        "get_image_set: read, low (",
    ] {
        assert!(one.contains(text), "{text:?} is not in {one}");
    }
}

#[tokio::test]
async fn a_known_server_is_printed_as_data_with_classes_flips_and_evidence() {
    let place = Place::new().await;

    let all: Value = serde_json::from_str(&place.prints(&["catalog", "--json"]).await).unwrap();
    assert!(all["servers"].as_array().unwrap().len() >= 60);
    let printed = place.prints(&["catalog", "@cyanheads/git-mcp-server", "--json"]).await;
    let server: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(server["package"], "@cyanheads/git-mcp-server");
    let tools = server["tools"].as_array().unwrap();
    let stash = tools.iter().find(|tool| tool["name"] == "git_stash").unwrap();
    assert_eq!(stash["risk"], "destructive");
    assert_eq!(stash["flips"][2]["values"], serde_json::json!(["drop", "clear"]));
    assert_eq!(stash["evidence"], "may drop what was put aside");
}

#[tokio::test]
async fn a_server_that_is_not_known_or_not_the_only_one_is_told_with_near_names() {
    let place = Place::new().await;

    for (word, told) in [
        ("mcp-server-gti", "knows no server mcp-server-gti; did you mean mcp-server-git?"),
        ("playwright", "several servers are called playwright; name one by its package:"),
    ] {
        let done = place.run(&["catalog", word]).await;
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }
}

#[tokio::test]
async fn tools_of_a_known_server_are_as_grave_as_is_known_and_no_milder_than_they_say() {
    let place = Place::new().await;

    let text = place.prints(&["tools", "git"]).await;
    for line in [
        "known: @cyanheads/git 2.15.3 (it declares 9.9.9; 2.15.3 was read)",
        "    risk: read, low (catalogue: description says \"View\")",
        "    risk: destructive, critical (catalogue: removes files that git does not know)",
        "    risk: destructive, critical (catalogue: may drop what was put aside)",
        "    with args.mode = \"push\", \"pop\", \"apply\": write",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let told: Value =
        serde_json::from_str(&place.prints(&["tools", "git", "--json"]).await).unwrap();
    assert_eq!(told["known"]["package"], "@cyanheads/git-mcp-server");
    let [diff, clean] = [&told["tools"][1], &told["tools"][2]];
    // It says of itself that it deletes, and was read as another that does not.
    assert_eq!((&diff["risk"], &diff["source"]), (&"destructive".into(), &"classifier".into()));
    assert_eq!(diff["catalogue"]["risk"], "read");
    assert_eq!((&clean["risk"], &clean["source"]), (&"destructive".into(), &"catalogue".into()));
    assert_eq!(clean["classifier"]["risk"], "read");
    assert_eq!(clean["catalogue"]["as_read"], false);

    let draft = place.prints(&["policy", "draft", "--upstream", "git"]).await;
    let policy: Value = serde_json::from_str(&draft).unwrap();
    let stash = &policy["tools"]["git_stash"];
    assert_eq!(stash["approval"]["when"][0]["path"], "args.mode");
    assert_eq!(stash["approval"]["when"][0]["op"], "not_in");
    let unasked = stash["approval"]["when"][0]["value"].as_array().unwrap();
    assert!(unasked.contains(&"push".into()) && !unasked.contains(&"drop".into()), "{draft}");
}
