//! The queue: its order, what narrows it, and several decisions at once.

use super::*;
use crate::domain::risk::Severity;

async fn chosen(site: &Site, ids: &[&ApprovalId]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for id in ids {
        let digest = site.now_is(id).await.digest().to_string();
        fields.push(("call".to_owned(), format!("{id} {digest}")));
    }
    fields
}

async fn bulk(site: &Site, who: &str, decision: &str, ids: &[&ApprovalId]) -> Answer {
    let cookie = site.cookie(who).await;
    let token = site.session_form_token(&cookie);
    let mut fields = chosen(site, ids).await;
    for (key, value) in [("decision", decision), ("reason", "Not now."), ("form_token", &token)] {
        fields.push((key.to_owned(), value.to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    site.post("/bulk", &[("cookie", &cookie)], &fields).await
}

async fn classified(site: &Site, n: u32, severity: Option<&str>) -> ApprovalId {
    let params = format!(r#"{{"name":"delete_image_set","arguments":{{"n":{n}}}}}"#);
    site.pending_with(&params, |a| {
        a.severity = severity.and_then(Severity::parse);
        a.expires_at = site.clock.now().plus(Duration::from_secs(u64::from(n) * 60));
    })
    .await
    .id
}

#[tokio::test]
async fn the_most_severe_comes_first_then_what_expires_first() {
    let site = Site::new().await;
    for (n, severity) in
        [(1, Some("low")), (9, None), (5, Some("critical")), (7, Some("high")), (3, Some("low"))]
    {
        classified(&site, n, severity).await;
    }

    let page = site.get("/", &[("cookie", &site.cookie("ana").await)]).await;

    let places: Vec<usize> = [5, 9, 7, 1, 3]
        .iter()
        .map(|n| {
            page.body.find(&format!("{{&#34;n&#34;:{n}}}")).unwrap_or_else(|| {
                page.body
                    .find(&format!("&quot;n&quot;:{n}"))
                    .unwrap_or_else(|| panic!("{}", page.body))
            })
        })
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.body.contains("<title>(5) Queue · Placet</title>"), "{}", page.body);
}

#[tokio::test]
async fn a_flood_of_one_agent_is_folded_and_buries_nobody_elses_call() {
    let site = Site::new().await;
    for n in 1..=130 {
        let params = format!(r#"{{"name":"delete_image_set","arguments":{{"n":{n}}}}}"#);
        site.pending_with(&params, |a| {
            a.agent = if n <= 65 { "loud" } else { "lo<ud" }.to_owned();
        })
        .await;
    }
    let quiet = site.pending_with(CALL, |a| a.agent = "quiet".to_owned()).await;
    let cookie = site.cookie("ana").await;
    let rows = |page: &Answer| page.body.matches("data-row=").count();

    let first = site.get("/", &[("cookie", &cookie)]).await;
    let loud = site.get("/?agent=loud", &[("cookie", &cookie)]).await;

    assert!(first.body.contains(&quiet.id.to_string()));
    assert_eq!(rows(&first), 21);
    assert!(first.body.contains("<title>(131) Queue"));
    assert!(first.body.contains("<b>55 more</b> calls of <b>loud</b>"));
    assert!(first.body.contains("/?agent=lo%3Cud"));
    assert_eq!(rows(&loud), 65, "whoever asks for one agent's calls gets them all");
}

#[tokio::test]
async fn the_queue_has_pages() {
    let site = Site::new().await;
    for n in 1..=103 {
        let params = format!(r#"{{"name":"delete_image_set","arguments":{{"n":{n}}}}}"#);
        site.pending(&params).await;
    }
    let cookie = site.cookie("ana").await;
    let rows = |page: &Answer| page.body.matches("data-row=").count();

    let first = site.get("/?agent=bot", &[("cookie", &cookie)]).await;
    let second = site.get("/?agent=bot&page=2", &[("cookie", &cookie)]).await;
    let beyond = site.get("/?agent=bot&page=9", &[("cookie", &cookie)]).await;

    assert_eq!((rows(&first), rows(&second), rows(&beyond)), (100, 3, 0));
    assert!(
        first.body.contains("/?agent=bot&#38;page=2")
            || first.body.contains("/?agent=bot&amp;page=2")
    );
    assert!(second.body.contains("rel=\"prev\"") && !second.body.contains("rel=\"next\""));
    assert!(beyond.body.contains("see the first"));
}

#[tokio::test]
async fn what_narrows_the_queue_lives_in_its_address() {
    let site = Site::new().await;
    site.pending(CALL).await;
    let cookie = site.cookie("ana").await;

    for (path, shown) in [
        ("/?tool=delete_image_set&agent=bot&upstream=images", true),
        ("/?tool=", true),
        ("/?tool=other", false),
        ("/?agent=nobody", false),
        ("/?upstream=%3Cb%3E", false),
    ] {
        let page = site.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(page.body.contains("data-row="), shown, "{path}");
        assert!(!page.body.contains("<b>"), "{path}");
    }
    let page = site.get("/?tool=other", &[("cookie", &cookie)]).await;
    assert!(page.body.contains(r#"name="tool" value="other""#) && page.body.contains("show all"));
}

#[tokio::test]
async fn any_number_is_rejected_at_once_and_nothing_counts_twice() {
    let site = Site::new().await;
    let (one, two, three) = (
        classified(&site, 1, None).await,
        classified(&site, 2, None).await,
        classified(&site, 3, None).await,
    );
    site.say(&two, "bo", "approve").await;

    let answer = bulk(&site, "ana", "reject", &[&one, &two, &three, &one]).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(answer.body.contains("2 of 3 rejected"), "{}", answer.body);
    assert!(answer.body.contains("already approved by bo"), "{}", answer.body);
    for (id, state) in [(&one, State::Rejected), (&two, State::Approved), (&three, State::Rejected)]
    {
        assert_eq!(site.now_is(id).await.state, state);
    }
    assert_eq!(site.now_is(&one).await.decisions[0].reason, "Not now.");
}

#[tokio::test]
async fn several_are_approved_only_if_all_are_of_one_rule_and_none_critical() {
    let site = Site::new().await;
    let (low, other) =
        (classified(&site, 1, Some("low")).await, classified(&site, 2, Some("low")).await);
    for severity in [None, Some("critical")] {
        let unfit = classified(&site, if severity.is_none() { 3 } else { 4 }, severity).await;
        let refused = bulk(&site, "ana", "approve", &[&low, &unfit]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{severity:?}");
        assert_eq!(site.now_is(&low).await.state, State::Pending);
    }
    let foreign = site
        .pending_with(r#"{"name":"copy_image_set"}"#, |a| {
            a.severity = Some(Severity::Low);
            a.rule = "/tools/copy_image_set".to_owned();
        })
        .await
        .id;
    let long =
        format!(r#"{{"name":"delete_image_set","arguments":{{"x":"{}"}}}}"#, "a".repeat(400));
    let long = site.pending_with(&long, |a| a.severity = Some(Severity::Low)).await.id;
    let secret = site.pending_with(SECRET_CALL, |a| a.severity = Some(Severity::Low)).await.id;
    for unfit in [&foreign, &long, &secret] {
        let refused = bulk(&site, "ana", "approve", &[&low, unfit]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    }

    let answer = bulk(&site, "ana", "approve", &[&low, &other]).await;

    assert!(answer.body.contains("2 of 2 approved"), "{}", answer.body);
    assert_eq!(site.now_is(&other).await.state, State::Approved);
}

#[tokio::test]
async fn more_than_twenty_are_not_approved_at_once() {
    let site = Site::new().await;
    let mut all = Vec::new();
    for n in 1..=21 {
        all.push(classified(&site, n, Some("low")).await);
    }
    let refused = bulk(&site, "ana", "approve", &all.iter().collect::<Vec<_>>()).await;
    assert!(refused.body.contains("at most 20"), "{}", refused.body);

    let rejected = bulk(&site, "ana", "reject", &all.iter().collect::<Vec<_>>()).await;
    assert!(rejected.body.contains("21 of 21 rejected"));
}

#[tokio::test]
async fn what_was_not_shown_or_not_chosen_is_refused() {
    let site = Site::new().await;
    let one = classified(&site, 1, None).await;
    let cookie = site.cookie("ana").await;
    let token = site.session_form_token(&cookie);
    let post = async |call: &str, token: &str| {
        let fields = [("call", call), ("decision", "reject"), ("form_token", token)];
        site.post("/bulk", &[("cookie", &cookie)], &fields).await
    };

    let stale = post(&format!("{one} sha256:{}", "0".repeat(64)), &token).await;
    assert!(stale.body.contains("0 of 1 rejected"), "{}", stale.body);
    let digest = site.now_is(&one).await.digest().to_string();
    assert_eq!(post(&format!("{one} {digest}"), "x").await.status, StatusCode::FORBIDDEN);
    assert_eq!(post("apr_1", &token).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let none = [("decision", "reject"), ("form_token", token.as_str())];
    let none = site.post("/bulk", &[("cookie", &cookie)], &none).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.now_is(&one).await.state, State::Pending);
    // The agent's owner may reject, an auditor may not.
    let by_kim = bulk(&site, "kim", "reject", &[&one]).await;
    assert!(by_kim.body.contains("0 of 1 rejected"), "{}", by_kim.body);
    assert!(bulk(&site, "olga", "reject", &[&one]).await.body.contains("1 of 1 rejected"));
}

#[tokio::test]
async fn scripts_are_few_and_only_add() {
    let site = Site::new().await;
    site.pending(CALL).await;
    let script = site.get("/assets/app.js", &[]).await;
    assert!(script.header("content-type").starts_with("text/javascript"));
    assert!(script.body.len() < 15 * 1024, "{} bytes", script.body.len());

    let page = site.get("/", &[("cookie", &site.cookie("ana").await)]).await;
    let policy = page.header("content-security-policy");
    for unsafe_word in ["unsafe-inline", "unsafe-eval", "*", "http:"] {
        assert!(!policy.contains(unsafe_word), "{policy}");
    }
    assert!(policy.contains("script-src 'self'") && policy.contains("connect-src 'self'"));
    assert!(!page.body.contains(" style=") && !page.body.contains(" onclick="));
    assert!(page.body.contains(r#"<noscript><meta http-equiv="refresh""#));
}
