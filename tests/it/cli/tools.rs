//! `placet tools` and `placet policy draft`: the built binary in front of a server that lists tools.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::support::db::Dir;
use crate::support::fake_http::{self, Fake};
use crate::support::soon;

const TOOLS: &str = r#"{"tools":[
    {"name":"list_sets","description":"List the image sets."},
    {"name":"copy_set","description":"Copy an image set."},
    {"name":"delete_set","description":"Delete an image set. This cannot be undone."},
    {"name":"manage_set","description":"Manage one set.","inputSchema":{"type":"object","properties":{
        "operation":{"type":"string","enum":["get","update","delete"]}}}}]}"#;

/// A folder with a configuration of one server, `images`.
struct Place {
    dir: Dir,
    server: Fake,
}

impl Place {
    async fn new(policy: &str) -> Self {
        let server = Fake::start(|seen| match seen.method().as_str() {
            "tools/list" => fake_http::result(TOOLS),
            _ => fake_http::legacy(seen).unwrap_or_else(|| fake_http::result("{}")),
        })
        .await;
        let place = Self { dir: Dir::new(), server };
        place.configure(policy);
        place
    }

    fn configure(&self, policy: &str) {
        let url = &self.server.url;
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[[upstreams]]\nname = \"images\"\n\
             url = \"{url}\"\n{policy}\n[[upstreams]]\nname = \"lost\"\n\
             url = \"http://127.0.0.1:9/\"\n"
        );
        std::fs::write(self.file("placet.toml"), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.0.join(name)
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_placet"));
        command.args(arguments).current_dir(&self.dir.0).kill_on_drop(true);
        let done = command.stdin(Stdio::null()).output();
        soon("the end of the command", done).await.unwrap()
    }

    /// What it prints where it must work, and what it tells beside.
    async fn works(&self, arguments: &[&str]) -> (String, String) {
        let done = self.run(arguments).await;
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{arguments:?}: {told}");
        (String::from_utf8(done.stdout).unwrap(), told)
    }

    /// What it complains of where it must fail with this exit code.
    async fn fails(&self, arguments: &[&str], code: i32) -> String {
        let done = self.run(arguments).await;
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {told}");
        told
    }
}

#[tokio::test]
async fn the_tools_of_an_upstream_are_told_with_class_evidence_and_the_rule_in_force() {
    let place = Place::new(
        "policy = { version = \"1\", hide = [\"copy_*\"], tools = { list_sets = { action = \"allow\" } }, \
         match = [{ risk = [\"destructive\"], action = \"require_approval\" }] }",
    )
    .await;

    let (text, _) = place.works(&["tools", "images"]).await;

    for line in [
        "images: 4 tools, agent local",
        "list_sets: allow by /tools/list_sets",
        "copy_set: hidden by /hide/0",
        "delete_set: require_approval by /match/0",
        "    risk: destructive, critical (classifier: name says \"delete\"; description says",
        "    with args.operation = \"delete\": destructive",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let (json, _) = place.works(&["tools", "images", "--json", "--agent", "local"]).await;
    let told: Value = serde_json::from_str(&json).unwrap();
    let delete = &told["tools"][2];
    assert_eq!(delete["risk"], "destructive");
    assert_eq!(delete["severity"], "critical");
    assert_eq!(delete["source"], "classifier");
    assert_eq!(delete["rule"], "/match/0");
    assert_eq!(delete["action"], "require_approval");
    assert!(place.server.seen_of("tools/call").is_empty(), "nothing is called");
}

#[tokio::test]
async fn an_unknown_upstream_or_agent_is_told_with_the_nearest_name() {
    let place = Place::new("").await;

    let told = place.fails(&["tools", "image"], 2).await;
    assert!(told.contains("image: no such upstream; did you mean images?"), "{told}");
    let told = place.fails(&["tools", "images", "--agent", "locl"], 2).await;
    assert!(told.contains("--agent locl: no such agent; did you mean local?"), "{told}");
    let told = place.fails(&["tools", "lost"], 1).await;
    assert!(told.contains("upstreams.lost: its tools can't be listed"), "{told}");
}
