//! The pages, with every hostile string in every place a stranger can write to.

use std::collections::BTreeMap;

use super::*;
use crate::domain::approval::{Choice, Decision, Via};
use crate::domain::hostile::{self, Entry};
use crate::domain::json;
use crate::domain::visible_text::visible;

/// A call whose names, reasons, arguments and answer all are `text`, in its agent's own list.
async fn called(site: &Site, text: &str, value: &str) -> Approval {
    let quoted = json::quote(text);
    let tool = if text.is_empty() { "\"empty\"" } else { &quoted };
    let params = format!(
        "{{\"name\":{tool},\"arguments\":{{{quoted}:{value}}},\"_meta\":{{\"reason\":{value}}}}}"
    );
    let now = site.clock.now();
    site.pending_with(&params, |a| {
        a.agent = format!("bot {text}");
        a.client = Some(text.to_owned());
        a.rule = text.to_owned();
        a.reason = Some(text.to_owned());
        a.end_reason = Some(text.to_owned());
        a.terms.quorum = 2;
        a.outcome = Some(Outcome::Result(format!(
            "{{\"content\":[{{\"type\":\"text\",\"text\":{quoted}}}]}}"
        )));
        a.decisions = vec![Decision {
            reviewer: "bo".to_owned(),
            choice: Choice::Approve,
            reason: text.to_owned(),
            via: Via::Web,
            assurance: Assurance::Session,
            at: now,
        }];
    })
    .await
}

/// How often each tag is there. What marks characters and words, and quotes a reason that is not
/// empty, may be there any number of times.
fn counted(html: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for tag in hostile::tags(html) {
        if !["q", "/q", "b", "/b", "b class", "span class", "p class", "/span", "/p"]
            .contains(&tag.as_str())
        {
            *counts.entry(tag).or_default() += 1;
        }
    }
    counts
}

fn check(entry: &Entry, page: &str) {
    let left = hostile::unseen(page);
    assert!(left.is_empty(), "{}: {left:?}", entry.name);
    let read = hostile::text_of(page);
    // Stored text has no NUL.
    let stored = visible(&entry.text.replace('\0', "\u{fffd}"));
    let seen = read.matches(stored.as_str()).count();
    assert!(seen >= 5, "{}: {seen} times", entry.name);
}

#[tokio::test]
async fn no_hostile_string_becomes_markup_or_stays_unseen_on_a_page() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let headers = [("cookie", cookie.as_str())];
    let plain = called(&site, "plain", "\"plain\"").await;
    let path = |a: &Approval| format!("/approvals/{}?full=1", a.id);
    let want = counted(&site.get(&path(&plain), &headers).await.body);

    for entry in hostile::corpus() {
        let approval = called(&site, &entry.text, &entry.json).await;
        let page = site.get(&path(&approval), &headers).await;

        assert_eq!(page.status, StatusCode::OK, "{}", entry.name);
        assert_eq!(counted(&page.body), want, "{}", entry.name);
        check(&entry, &page.body);
        let flagged = page.body.contains("What the agent's client calls itself may mislead")
            || page.body.contains("What the agent&#39;s client calls itself may mislead");
        assert_eq!(flagged, entry.alike, "{}", entry.name);
    }
}

#[tokio::test]
async fn the_lists_show_hostile_strings_spelled_out_and_say_what_looks_alike() {
    for entry in hostile::corpus() {
        let site = Site::new().await;
        called(&site, &entry.text, &entry.json).await;
        let cookie = site.cookie("root").await;

        for path in ["/", "/history", "/audit", "/agents"] {
            let page = site.get(path, &[("cookie", &cookie)]).await;

            let left = hostile::unseen(&page.body);
            assert!(left.is_empty(), "{} {path}: {left:?}", entry.name);
            for tag in hostile::tags(&page.body) {
                let name = tag.split(' ').next().unwrap_or_default();
                let foreign = ["svg", "iframe", "math", "base"].contains(&name);
                assert!(!foreign, "{} {path}: {tag}", entry.name);
                assert!(!tag.contains(" on"), "{} {path}: {tag}", entry.name);
            }
            if path == "/" {
                let warned = page.body.contains("look-alike letters");
                assert_eq!(warned, entry.alike, "{}", entry.name);
            }
        }
    }
}
