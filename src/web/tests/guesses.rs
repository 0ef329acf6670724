//! Bearer tokens are guessed at a throttled rate.

use super::*;

async fn me(site: &Site, token: &str) -> Answer {
    site.get("/api/v1/me", &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn api_tokens_are_guessed_at_a_throttled_rate_and_who_was_known_goes_on() {
    let limits = "[server]\nwrong_tokens = 3\nwrong_token_window = \"1m\"";
    let site = Site::with_config(&CONFIG.replace("[server]", limits)).await;
    assert_eq!(me(&site, &token_of("ana")).await.status, StatusCode::OK);
    for n in 0..3 {
        // Personal tokens are looked up in the store; they count alike.
        let guess = if n == 1 { format!("plt_own_{n}") } else { format!("guess-{n}") };
        assert_eq!(me(&site, &guess).await.status, StatusCode::UNAUTHORIZED, "{n}");
    }

    let refused = me(&site, "guess-4").await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::TOO_MANY_REQUESTS, "too_many_requests".to_owned())
    );
    assert_eq!(refused.header("retry-after"), "60");
    let right = me(&site, &token_of("bo")).await;
    assert_eq!(right.status, StatusCode::TOO_MANY_REQUESTS, "not even the right one is told");
    let approval = site.pending(CALL).await;
    let decided = site.say(&approval.id, "bo", "approve").await;
    assert_eq!(decided.status, StatusCode::TOO_MANY_REQUESTS, "to decide neither");
    assert_eq!(me(&site, &token_of("ana")).await.status, StatusCode::OK);
    let elsewhere = [("authorization", "Bearer guess-5"), ("x-forwarded-for", "192.0.2.9")];
    assert_eq!(
        site.get("/api/v1/me", &elsewhere).await.status,
        StatusCode::TOO_MANY_REQUESTS,
        "no proxy said so"
    );
    assert_eq!(
        site.get("/api/v1/me", &[]).await.status,
        StatusCode::UNAUTHORIZED,
        "no token at all"
    );

    site.clock.advance(Duration::from_mins(1));

    assert_eq!(me(&site, &token_of("bo")).await.status, StatusCode::OK);
}
