//! `/upstreams`.

use super::*;
use crate::domain::hostile;
use crate::domain::json;
use crate::domain::upstream_health::{ListKind, Trouble, UpstreamHealth};
use crate::domain::visible_text::visible;
use crate::upstream::{Report, ServerFacts, WireEra};

fn facts(server_info: &str) -> ServerFacts {
    ServerFacts {
        era: WireEra::Legacy,
        version: "2025-06-18".to_owned(),
        capabilities: "{}".to_owned(),
        server_info: server_info.to_owned(),
        instructions: None,
    }
}

/// One that failed at 20:00:00, answered ten seconds later and is looked at after five minutes.
fn known(site: &Site, error: &str, server_info: &str) {
    let now = site.clock.now();
    let later = now.plus(Duration::from_secs(10));
    let mut health = UpstreamHealth::default();
    health.failed(Trouble::Lost, error, now);
    health.answered(later);
    health.listed_tools(4, later);
    health.listed(ListKind::Prompts, None, 1, Some("\"p\"".to_owned()), later);
    *site.upstream.report.lock().unwrap() =
        Report { health, connections: 2, facts: Some(facts(server_info)), ..Report::default() };
    site.clock.advance(Duration::from_secs(310));
}

#[tokio::test]
async fn every_signed_in_reviewer_sees_where_calls_go_and_nobody_else() {
    let site = Site::new().await;
    known(&site, "the connection broke", r#"{"name":"archive","version":"1.2"}"#);

    for who in ["ana", "olga", "root", "kim"] {
        let page = site.get("/upstreams", &[("cookie", &site.cookie(who).await)]).await;

        assert_eq!(page.status, StatusCode::OK);
        for part in [
            "images",
            "reachable",
            "http://127.0.0.1:9/mcp",
            "legacy, version <code>2025-06-18</code>",
            "<q>archive 1.2</q>",
            "4 tools",
            "at least 1 prompt ",
            "2 open",
            "5 minutes ago</time>; <b>answered since</b>",
            "the connection broke",
            "may have run",
        ] {
            assert!(page.body.contains(part), "{who} {part}: {}", page.body);
        }
        assert!(page.body.contains(r#"href="/upstreams" aria-current="page""#));
    }
    assert_eq!(site.upstream.asked.load(Ordering::Relaxed), 0, "nothing is asked for it");
    let anonymous = site.get("/upstreams", &[]).await;
    assert_eq!(anonymous.header("location"), "/sign-in?next=%2Fupstreams");
}

#[tokio::test]
async fn what_fails_is_told_before_the_list() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let fresh = site.get("/upstreams", &[("cookie", &cookie)]).await;
    assert!(fresh.body.contains("never used") && !fresh.body.contains("failed when last asked"));

    let now = site.clock.now();
    let mut health = UpstreamHealth::default();
    health.failed(Trouble::NotSent, "connection refused", now);
    *site.upstream.report.lock().unwrap() = Report { health, ..Report::default() };
    let page = site.get("/upstreams", &[("cookie", &cookie)]).await;

    assert!(page.body.contains("1 of 1 failed when last asked"), "{}", page.body);
    assert!(page.body.contains("Nothing was sent to it") && !page.body.contains("answered since"));
}

#[tokio::test]
async fn servers_words_are_spelled_out_flagged_and_never_markup() {
    for entry in hostile::corpus() {
        let site = Site::new().await;
        let cookie = site.cookie("ana").await;
        let headers = [("cookie", cookie.as_str())];
        known(&site, "plain", r#"{"name":"plain"}"#);
        let plain = site.get("/upstreams", &headers).await;
        known(&site, &entry.text, &format!("{{\"name\":{}}}", json::quote(&entry.text)));

        let page = site.get("/upstreams", &headers).await;

        let left = hostile::unseen(&page.body);
        assert!(left.is_empty(), "{}: {left:?}", entry.name);
        let elements = |html: &str| {
            let all = hostile::tags(html).into_iter();
            all.filter(|t| {
                !["q", "/q", "p class", "/p", "span class", "/span"].contains(&t.as_str())
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(elements(&page.body), elements(&plain.body), "{}", entry.name);
        for whose in ["What the server calls itself may", "What the error says may"] {
            assert_eq!(page.body.contains(whose), entry.alike, "{} {whose}", entry.name);
        }
        if entry.text.chars().count() < 400 {
            let seen = hostile::text_of(&page.body).matches(&visible(&entry.text)).count();
            assert!(seen >= 2, "{}: {seen} times", entry.name);
        }
    }
}

#[tokio::test]
async fn the_api_lists_upstreams_for_reviewers_only() {
    let site = Site::new().await;
    let began = site.clock.now();
    known(&site, "the connection broke", r#"{"name":"archive","version":"1.2"}"#);

    let listed = site.api("GET", "/upstreams", "ana", "").await;
    let stranger = site.api("GET", "/upstreams", "bot", "").await;

    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    let later = began.plus(Duration::from_secs(10));
    assert_eq!(
        listed.body,
        format!(
            r#"{{"upstreams":[{{"name":"images","transport":"http","target":["http://127.0.0.1:9/mcp"],"state":"reachable","era":"legacy","version":"2025-06-18","server":"archive 1.2","connections":2,"lists":{{"tools":{{"count":4,"complete":true,"read_at":"{later}"}},"prompts":{{"count":1,"complete":false,"read_at":"{later}"}},"resources":null,"resource_templates":null}},"answered_at":"{later}","last_error":{{"at":"{began}","kind":"lost","text":"the connection broke","meaning":"It was sent something and gave no readable answer: if that was a call, it may have run.","answered_since":true}}}}]}}"#
        )
    );
}
