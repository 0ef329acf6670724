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

#[tokio::test]
async fn a_drafted_policy_passes_check_and_judges_as_it_says() {
    let place = Place::new("").await;

    let (text, _) = place.works(&["policy", "draft", "--upstream", "images"]).await;
    let (again, _) =
        place.works(&["policy", "draft", "--upstream", "images", "--out", "images.json"]).await;
    assert_eq!(again, "");
    assert_eq!(std::fs::read_to_string(place.file("images.json")).unwrap(), text);
    let told =
        place.fails(&["policy", "draft", "--upstream", "images", "--out", "images.json"], 1).await;
    assert!(told.contains("--out images.json: is there already"), "{told}");

    place.configure("policy = \"images.json\"");
    let (_, told) = place.works(&["check"]).await;
    // Nobody is told here, which is not the policy's fault.
    let mut faults = told.lines().filter(|line| line.contains("images.json"));
    assert!(faults.all(|line| line.contains("no notifier reaches")), "{told}");
    for (tool, arguments, verdict) in [
        ("list_sets", "{}", "allow"),
        ("copy_set", "{}", "allow"),
        ("delete_set", "{}", "require_approval"),
        ("manage_set", r#"{"operation":"get"}"#, "allow"),
        ("manage_set", r#"{"operation":"delete"}"#, "require_approval"),
        ("unheard_of", "{}", "deny"),
    ] {
        let asked = ["policy", "explain", "--json", "--upstream", "images"];
        let call = ["--tool", tool, "--args", arguments];
        let (json, _) = place.works(&[&asked[..], &call[..]].concat()).await;
        let told: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(told["verdict"], verdict, "{tool} {arguments}");
    }
}

#[tokio::test]
async fn new_tools_are_added_to_a_policy_and_told_and_its_file_stays() {
    let place = Place::new("").await;
    let old = "{ \"version\": \"1\",\n  \"tools\": {\n    \"list_set\": { \"action\" : \"deny\" },\n    \
               \"copy_set\": {\"action\":\"allow\"}\n  }\n}\n";
    std::fs::write(place.file("old.json"), old).unwrap();
    let draft = ["policy", "draft", "--upstream", "images", "--update"];

    let (text, told) = place.works(&[&draft[..], &["old.json"]].concat()).await;

    let kept = old.trim_end().trim_end_matches(['}', '\n', ' ']);
    assert!(text.starts_with(kept), "{text}");
    assert!(text.ends_with("    }\n  }\n}\n"), "{text}");
    for line in [
        "added: delete_set",
        "added: manage_set",
        "added: list_sets",
        "warning: /tools/list_set: ",
        "did you mean \"list_sets\"?",
    ] {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }
    assert!(!told.contains("added: copy_set"), "{told}");
    assert_eq!(std::fs::read_to_string(place.file("old.json")).unwrap(), old);

    std::fs::write(place.file("bad.json"), "{\"version\":\"1\",\"tolls\":{}}").unwrap();
    let told = place.fails(&[&draft[..], &["bad.json"]].concat(), 2).await;
    assert!(told.contains("bad.json: /tolls: unknown key") && told.contains("tools"), "{told}");
}

#[tokio::test]
async fn a_policy_by_class_is_explained_by_the_class_that_the_list_gives_the_tool() {
    let place = Place::new(
        "policy = { version = \"1\", default = \"deny\", \
         match = [{ risk = [\"destructive\"], action = \"require_approval\" }] }",
    )
    .await;
    let explain = ["policy", "explain", "--upstream", "images", "--tool"];

    // Without the list an entry by class fits every tool.
    let (text, _) = place.works(&[&explain[..], &["copy_set"]].concat()).await;
    assert!(text.contains("rule:     /match/0"), "{text}");
    assert!(!text.contains("risk:     "), "{text}");

    let (text, _) = place.works(&[&explain[..], &["copy_set", "--connect"]].concat()).await;
    assert!(text.contains("rule:     /default"), "{text}");
    assert!(text.contains("risk:     write, medium (classifier: name says \"copy\""), "{text}");
    let (text, _) = place.works(&[&explain[..], &["delete_set", "--connect"]].concat()).await;
    assert!(text.contains("rule:     /match/0"), "{text}");
    assert!(text.contains("risk:     destructive, critical (classifier: name says \"delete\""));
    let (json, _) =
        place.works(&[&explain[..], &["delete_set", "--connect", "--json"]].concat()).await;
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        [&told["risk"], &told["severity"], &told["risk_source"]],
        ["destructive", "critical", "classifier"]
    );

    let (text, _) = place.works(&[&explain[..], &["delete_sets", "--connect"]].concat()).await;
    assert!(text.contains("verdict:  unknown"), "{text}");
    assert!(text.contains("lists no tool delete_sets; did you mean delete_set?"), "{text}");
    let lost = ["policy", "explain", "--upstream", "lost", "--tool", "t", "--connect"];
    let told = place.fails(&lost, 1).await;
    assert!(told.contains("upstreams.lost: its tools can't be listed"), "{told}");
}
