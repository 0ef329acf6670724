//! Live changes: none is left out, and who comes back goes on.

use axum::body::HttpBody as _;

use super::*;

/// A listener that was here up to that event; none: that comes now.
async fn listen(site: &Site, last: Option<&str>) -> Body {
    let mut request = Request::get("/api/v1/events")
        .header("host", "127.0.0.1:8420")
        .header("authorization", format!("Bearer {}", token_of("ana")));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request = request.body(Body::empty()).unwrap();
    site.router.clone().oneshot(request).await.unwrap().into_body()
}

/// Reads up to the end of the next event: its id and all of it.
async fn event(body: &mut Body, pending: &mut String) -> (String, String) {
    loop {
        if let Some(end) = pending.find("\n\n") {
            let text: String = pending.drain(..end + 2).collect();
            if let Some(id) = text.lines().find_map(|line| line.strip_prefix("id: ")) {
                return (id.to_owned(), text.clone());
            }
            continue;
        }
        let mut pinned = std::pin::Pin::new(&mut *body);
        let frame = std::future::poll_fn(|context| pinned.as_mut().poll_frame(context));
        let bytes = frame.await.unwrap().unwrap().into_data().unwrap();
        pending.push_str(std::str::from_utf8(&bytes).unwrap());
    }
}

fn call(n: usize) -> String {
    format!("{{\"name\":\"delete_image_set\",\"arguments\":{{\"n\":{n}}}}}")
}

#[tokio::test]
async fn a_rush_of_changes_is_told_whole() {
    const RUSH: usize = 450;
    let site = Site::new().await;
    let (mut body, mut rest) = (listen(&site, None).await, String::new());

    let mut made = std::collections::BTreeSet::new();
    for n in 0..RUSH {
        made.insert(site.pending(&call(n)).await.id.to_string());
    }

    let mut last = 0;
    while !made.is_empty() {
        let (id, text) = event(&mut body, &mut rest).await;
        let seq: i64 = id.parse().unwrap();
        assert!(seq > last, "{seq} after {last}");
        last = seq;
        made.retain(|id| !text.contains(id.as_str()));
    }
}

#[tokio::test]
async fn who_comes_back_with_the_last_id_is_told_what_changed_meanwhile() {
    let site = Site::new().await;
    let (mut body, mut rest) = (listen(&site, None).await, String::new());
    let before = site.pending(&call(1)).await;
    let (last, text) = event(&mut body, &mut rest).await;
    assert!(text.contains(before.id.as_str()));
    drop(body);
    let meanwhile = [site.pending(&call(2)).await, site.pending(&call(3)).await];

    let (mut body, mut rest) = (listen(&site, Some(&last)).await, String::new());

    // Both at the same instant: in either order.
    let (_, one) = event(&mut body, &mut rest).await;
    let (_, two) = event(&mut body, &mut rest).await;
    for made in meanwhile {
        assert!(one.contains(made.id.as_str()) != two.contains(made.id.as_str()), "{one}{two}");
    }
}

#[tokio::test]
async fn a_damaged_approval_stops_neither_the_list_nor_the_stream_and_is_told_as_damaged() {
    use sqlx::{Connection as _, Executor as _};
    let site = Site::new().await;
    let mut made = Vec::new();
    for n in 0..4 {
        made.push(site.pending(&call(n)).await.id);
    }
    // Those of one millisecond are listed in the order of their ids, which are random there.
    made.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    let url = format!("sqlite:{}", site.file.display());
    let mut link = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for damaged in &made[1..3] {
        let sql = format!("update approvals set terms = '{{' where id = '{damaged}'");
        link.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }

    let first = site.api("GET", "/approvals?limit=1", "ana", "").await;
    let cursor = format!("/approvals?limit=1&cursor={}", made[3]);
    let second = site.api("GET", &cursor, "ana", "").await;
    let cookie = site.cookie("ana").await;
    let queue = site.get("/", &[("cookie", &cookie)]).await;
    let one = site.api("GET", &format!("/approvals/{}", made[1]), "ana", "").await;
    let (mut body, mut rest) = (listen(&site, Some("0")).await, String::new());

    assert!(first.body.contains(made[3].as_str()), "{}", first.body);
    assert!(first.body.contains(&format!("\"next_cursor\":\"{}\"", made[3])), "{}", first.body);
    assert!(second.body.contains(made[0].as_str()), "{}", second.body);
    assert!(second.body.contains("\"next_cursor\":null"), "{}", second.body);
    assert!(queue.body.contains(made[0].as_str()) && queue.body.contains(made[3].as_str()));
    assert_eq!(one.code(), "unavailable");
    assert!(one.body.contains("damaged") && !one.body.contains("can't be used"), "{}", one.body);
    for seen in [&made[0], &made[3]] {
        let (_, text) = event(&mut body, &mut rest).await;
        assert!(text.contains(seen.as_str()), "{text}");
    }
}

#[tokio::test]
async fn an_id_that_means_nothing_here_is_answered_with_missed() {
    let site = Site::new().await;
    site.pending(&call(1)).await;

    for id in ["999999", "apr_1"] {
        let (mut body, mut rest) = (listen(&site, Some(id)).await, String::new());
        let (_, text) = event(&mut body, &mut rest).await;

        assert!(text.contains("event: missed") && text.contains("{\"reload\":true}"), "{text}");
    }
}

#[tokio::test]
async fn a_disabled_channel_is_shown_and_an_admin_enables_it() {
    let site = Site::with_config(&format!(
        "{CONFIG}\n[[notifiers]]\nname = \"ops\"\nkind = \"webhook\"\n\
         url = \"https://hooks.example.org/placet\"\n\
         secret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n"
    ))
    .await;
    let ops = site.web.broker.config().notifiers.iter().find(|n| n.name == "ops").unwrap().clone();
    site.web.broker.disable_channel(&ops, "410 Gone").await.unwrap();

    let shown = site.api("GET", "/notifiers", "ana", "").await;
    let refused = site.api("POST", "/notifiers/ops/enable", "ana", "").await;
    let enabled = site.api("POST", "/notifiers/ops/enable", "root", "").await;
    let after = site.api("GET", "/notifiers", "ana", "").await;

    assert!(shown.body.contains("410 Gone"), "{}", shown.body);
    assert_eq!(refused.code(), "forbidden");
    assert_eq!(enabled.status, StatusCode::OK, "{}", enabled.body);
    assert!(!after.body.contains("410 Gone"), "{}", after.body);
    assert_eq!(site.audited(Kind::ChannelDisabled).await, 1);
    assert_eq!(site.audited(Kind::ChannelEnabled).await, 1);
    assert_eq!(
        site.api("POST", "/notifiers/no/enable", "root", "").await.code(),
        "invalid_request"
    );
}
