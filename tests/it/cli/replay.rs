//! Recorded calls against a candidate, by the built binary.

use placet::domain::audit::{AuditEvent, Kind};
use placet::store::Store as _;
use placet::store::sql::SqlStore;
use serde_json::Value;

use super::placet;
use crate::support::approvals::{T0, approval, at, submission};
use crate::support::db::Dir;

const CONFIG: &str = "[database]\nurl = \"sqlite:a.db\"\n[[upstreams]]\nname = \"images\"\n\
                      url = \"http://127.0.0.1:9/mcp\"\npolicy = \"now.json\"\n\
                      [[agents]]\nname = \"ci\"\ntoken = \"token-of-the-agent-ci\"\n\
                      [[reviewers]]\nname = \"ben\"\ntoken = \"token-of-the-reviewer-ben\"\n";

/// What a policy would have made of the calls; other than 0 where it is not read.
async fn replayed(dir: &Dir, candidate: &str) -> (i32, Value, String) {
    std::fs::write(dir.0.join("candidate.json"), candidate).unwrap();
    let since = ["--json", "policy", "replay", "candidate.json", "--since", "2000-01-01T00:00:00Z"];
    let (code, said, told) = placet(dir, &since).await;
    (code, serde_json::from_str(&said).unwrap_or_default(), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_are_judged_by_a_candidate_and_what_changes_is_told_apart() {
    let dir = Dir::new();
    std::fs::write(dir.0.join("placet.toml"), CONFIG).unwrap();
    std::fs::write(dir.0.join("now.json"), r#"{"version":"1","default":"deny"}"#).unwrap();
    let (code, _, told) = replayed(&dir, r#"{"version":"1"}"#).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("there is no database yet"), "{told}");

    let store = SqlStore::open(&format!("sqlite:{}", dir.0.join("a.db").display())).await.unwrap();
    let event = |kind, tool: &str| {
        AuditEvent::new(kind, "ci", at(1)).with("upstream", "images").with("tool", tool)
    };
    let events = vec![
        event(Kind::CallAllowed, "list"),
        event(Kind::CallAllowed, "list"),
        event(Kind::CallAllowed, "copy"),
        event(Kind::CallAllowed, "move"),
        event(Kind::CallDenied, "wipe"),
    ];
    store.audit().append(events).await.unwrap();
    let mut asked = approval(1, r#"{"n":1}"#);
    asked.call.upstream = "images".to_owned();
    store.approvals().submit(submission(asked), T0).await.unwrap();
    store.close().await;

    let (code, found, told) = replayed(
        &dir,
        r#"{"version":"1","default":"deny","tools":{
            "list":{"action":"require_approval"},"wipe":{"action":"allow"},
            "move":{"action":"require_approval","approval":{"when":[{"path":"args.n","op":"eq","value":1}]}},
            "delete_image_set":{"action":"require_approval","approval":{"when":[{"path":"args.n","op":"eq","value":2}]}}}}"#,
    )
    .await;

    assert_eq!((code, told.as_str()), (0, ""));
    let total = &found["total"];
    let count = |key: &str| total[key].as_u64().unwrap();
    assert_eq!(count("calls"), 6, "{found}");
    // The wiping, and the deletion that people were asked about.
    assert_eq!(count("newly_allowed"), 2, "{found}");
    assert_eq!(count("newly_asked"), 2, "{found}");
    assert_eq!(count("newly_denied"), 1, "{found}");
    assert_eq!(count("depends_on_arguments"), 1, "{found}");
    assert_eq!(found["questions_a_day"]["reviewers"].as_object().unwrap().len(), 1, "{found}");
}
