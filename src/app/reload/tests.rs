use std::path::PathBuf;

use crate::tcp::serve::Answers as _;
use axum::body::{Body, to_bytes};
use axum::http::Request;

use super::*;
use crate::app::App;
use crate::store::Store as _;

const PEOPLE: &str = r#"
[[agents]]
name = "ci"
token = "ci-token-ci-token-ci-token"
[[reviewers]]
name = "ana"
token = "ana-token-ana-token-ana-to"
"#;

/// A program in a folder of its own, whose configuration can be written anew.
struct Running {
    app: App,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn upstream(name: &str, policy: &str) -> String {
    format!("[[upstreams]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:9/mcp\"\n{policy}\n")
}

fn text(more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"sqlite:placet.db\"\n{PEOPLE}{more}"
    )
}

impl Running {
    async fn with(upstreams: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = format!("placet-reload-{}", crate::id::IdSource::token(&crate::id::OsIds));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        for file in ["a.json", "b.json"] {
            let tool = r#"{"version":"1","tools":{"x":{"action":"allow"}}}"#;
            std::fs::write(folder.join(file), tool).unwrap();
        }
        let file = folder.join("placet.toml");
        std::fs::write(&file, text(upstreams)).unwrap();
        let (config, _) = Config::load(Some(&file), &Environment::new()).unwrap();
        Self { app: App::build(config).await.unwrap(), folder }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.join(file), text).unwrap();
    }

    async fn reload(&self) {
        reload_policies(&self.app.broker, &self.app.readiness, &Environment::new()).await;
    }

    /// Writes the configuration with these upstreams, and reloads.
    async fn reload_with(&self, upstreams: &str) {
        self.write("placet.toml", &text(upstreams));
        self.reload().await;
    }

    /// The rules of each upstream's policy but its default; `none` where it has no policy.
    fn in_force(&self) -> Vec<String> {
        let rules = |policy: std::sync::Arc<crate::domain::policy::Policy>| {
            let rules = policy.rules().filter(|rule| rule.pointer != "/default");
            rules.map(|rule| rule.pointer.clone()).collect()
        };
        let of =
            |name| self.app.broker.policies().of(name).map_or_else(|| "none".to_owned(), rules);
        ["a", "b"].map(of).to_vec()
    }

    async fn ready(&self) -> String {
        let host = self.app.address().to_string();
        let request = Request::get("/readyz").header("host", host).body(Body::empty()).unwrap();
        let answer = self.app.faces.answer(request).await;
        let bytes = to_bytes(answer.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        if text.contains("degraded") { "degraded".to_owned() } else { text }
    }

    async fn kinds(&self) -> Vec<String> {
        while self.app.store().audit().seal(100).await.unwrap() > 0 {}
        let records = self.app.store().audit().list(0, 1_000).await.unwrap();
        records.into_iter().map(|r| r.kind).filter(|kind| kind.starts_with("policy_")).collect()
    }
}

fn x() -> String {
    "/tools/x".to_owned()
}

#[tokio::test]
async fn a_policy_line_that_was_removed_is_no_longer_in_force_after_a_reload() {
    let both = upstream("a", "policy = \"a.json\"") + &upstream("b", "policy = \"b.json\"");
    let running = Running::with(&both).await;
    let mut heard = running.app.broker.policies().changes();
    assert_eq!(running.in_force(), [x(), x()]);

    running.reload_with(&(upstream("a", "") + &upstream("b", "policy = \"b.json\""))).await;

    assert_eq!(running.in_force(), ["none".to_owned(), x()]);
    assert_eq!(heard.try_recv().unwrap(), "a");
    assert!(heard.try_recv().is_err(), "b is as it was");
    assert!(running.kinds().await.contains(&"policy_removed".to_owned()));
    assert!(!running.ready().await.contains("degraded"));
}

#[tokio::test]
async fn an_upstream_that_was_removed_has_no_policy_after_a_reload() {
    let both = upstream("a", "policy = \"a.json\"") + &upstream("b", "policy = \"b.json\"");
    let running = Running::with(&both).await;

    running.reload_with(&upstream("b", "policy = \"b.json\"")).await;

    assert_eq!(running.in_force(), ["none".to_owned(), x()]);
}

#[tokio::test]
async fn policies_are_added_and_changed_by_a_reload() {
    let running = Running::with(&(upstream("a", "") + &upstream("b", "policy = \"b.json\""))).await;
    let inline =
        "[upstreams.policy]\nversion = \"1\"\n[upstreams.policy.tools.y]\naction = \"deny\"";
    running.write("b.json", r#"{"version":"1","tools":{"z":{"action":"allow"}}}"#);

    running.reload_with(&(upstream("b", "policy = \"b.json\"") + &upstream("a", inline))).await;

    let now = |tool: &str| format!("/tools/{tool}");
    assert_eq!(running.in_force(), [now("y"), now("z")]);
}

#[tokio::test]
async fn a_reload_that_fails_keeps_every_old_policy_and_says_degraded_until_one_succeeds() {
    let both = upstream("a", "policy = \"a.json\"") + &upstream("b", "policy = \"b.json\"");
    let running = Running::with(&both).await;
    let without_b = upstream("a", "policy = \"a.json\"") + &upstream("b", "");
    // The line of one is removed, but the other's file is gone, broken, or the whole is not TOML.
    std::fs::remove_file(running.folder.join("a.json")).unwrap();
    running.reload_with(&without_b).await;
    assert_eq!((running.in_force(), running.ready().await), (vec![x(), x()], "degraded".into()));
    running.write("a.json", r#"{"version":"1","tolls":{}}"#);
    running.reload().await;
    assert_eq!((running.in_force(), running.ready().await), (vec![x(), x()], "degraded".into()));
    running.write("placet.toml", "[server");
    running.reload().await;
    assert_eq!((running.in_force(), running.ready().await), (vec![x(), x()], "degraded".into()));
    std::fs::remove_file(running.folder.join("placet.toml")).unwrap();
    running.reload().await;
    assert_eq!((running.in_force(), running.ready().await), (vec![x(), x()], "degraded".into()));
    assert_eq!(running.kinds().await.iter().filter(|k| *k == "policy_refused").count(), 4);

    running.write("a.json", r#"{"version":"1","tools":{"x":{"action":"allow"}}}"#);
    running.reload_with(&without_b).await;

    assert_eq!(running.in_force(), [x(), "none".to_owned()]);
    assert!(!running.ready().await.contains("degraded"));
}

#[tokio::test]
async fn a_policy_that_asks_people_who_do_not_run_yet_is_not_put_in_force() {
    let running = Running::with(&upstream("a", "policy = \"a.json\"")).await;
    let zoe = r#"{"version":"1","tools":{"x":{"action":"require_approval","approval":{"reviewers":["zoe"]}}}}"#;
    running.write("a.json", zoe);

    let more = "[[reviewers]]\nname = \"zoe\"\ntoken = \"zoe-token-zoe-token-zoe-to\"\n";
    running.reload_with(&(upstream("a", "policy = \"a.json\"") + more)).await;

    assert_eq!(running.in_force(), [x(), "none".to_owned()]);
    assert_eq!(running.ready().await, "degraded");
}
