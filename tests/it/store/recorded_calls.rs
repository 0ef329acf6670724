//! Calls of the past, as a policy is tried on them.

use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::call::Method;
use placet::store::Store as _;
use placet::store::recorded_calls::{Became, CallCount};

use crate::support::approvals::{T0, approval, at, id, submission};
use crate::support::db::{Database, on_each};

fn event(kind: Kind, agent: &str, tool: &str, second: u64) -> AuditEvent {
    AuditEvent::new(kind, agent, at(second)).with("upstream", "images").with("tool", tool)
}

fn count(agent: &str, method: Method, tool: &str, became: Became, count: u64) -> CallCount {
    CallCount { agent: agent.to_owned(), method, tool: tool.to_owned(), became, count }
}

#[tokio::test]
async fn recorded_calls_are_counted_by_agent_tool_and_what_became_of_them() {
    on_each(async |db: &Database| {
        let elsewhere = AuditEvent::new(Kind::CallAllowed, "ci", at(3))
            .with("upstream", "other")
            .with("tool", "list");
        let events = vec![
            event(Kind::CallAllowed, "ci", "list", 1),
            event(Kind::CallAllowed, "ci", "list", 2),
            event(Kind::CallDenied, "ci", "wipe", 2),
            event(Kind::CallLimited, "ann", "list", 3),
            event(Kind::GrantUsed, "ann", "delete", 3),
            event(Kind::CallAllowed, "ann", "hello", 3).by_method("prompts/get"),
            elsewhere,
            AuditEvent::new(Kind::SignedIn, "ben", at(3)),
            event(Kind::CallAllowed, "ci", "list", 0),
        ];
        db.store.audit().append(events).await.unwrap();
        let calls = db.store.recorded_calls();

        let newest = calls.newest().await.unwrap();
        let mut counted = calls.counted("images", at(1), 0, newest).await.unwrap();
        counted.sort_by(|a, b| (&a.agent, &a.tool).cmp(&(&b.agent, &b.tool)));

        assert_eq!(
            counted,
            [
                count("ann", Method::CallTool, "delete", Became::Allowed, 1),
                count("ann", Method::GetPrompt, "hello", Became::Allowed, 1),
                count("ann", Method::CallTool, "list", Became::Limited, 1),
                count("ci", Method::CallTool, "list", Became::Allowed, 2),
                count("ci", Method::CallTool, "wipe", Became::Denied, 1),
            ]
        );
        assert!(calls.counted("images", at(1), newest, newest + 9).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn calls_that_people_were_asked_about_are_read_in_pages_with_their_params() {
    on_each(async |db: &Database| {
        for n in 1..=3 {
            let asked = approval(n, &format!("{{\"n\":{n}}}"));
            db.store.approvals().submit(submission(asked), T0).await.unwrap();
        }
        let upstream = approval(1, "{}").call.upstream;
        let calls = db.store.recorded_calls();

        let first = calls.asked(&upstream, T0, None, 2).await.unwrap();
        let rest = calls.asked(&upstream, T0, Some(&first[1].id), 2).await.unwrap();

        assert_eq!(first.iter().map(|c| &c.id).collect::<Vec<_>>(), [&id(1), &id(2)]);
        assert_eq!(rest.len(), 1);
        assert!(rest[0].params.contains("\"n\":3"), "{}", rest[0].params);
        assert!(calls.asked("other", T0, None, 2).await.unwrap().is_empty());
        assert!(calls.asked(&upstream, at(9_999), None, 2).await.unwrap().is_empty());
    })
    .await;
}
