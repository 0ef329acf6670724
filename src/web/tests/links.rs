//! Mailed review links.

use super::*;

#[tokio::test]
async fn looking_at_a_link_changes_nothing_however_often() {
    let site = Site::new().await;
    let before = site.pending(CALL).await;
    let link = site.link(&before.id, "ana").await;

    for _ in 0..10 {
        let seen = site.get(&link, &[]).await;
        assert_eq!(seen.status, StatusCode::OK);
        assert!(seen.body.contains("1.00") && seen.body.contains(">Approve</button>"));
    }
    assert_eq!(site.send("HEAD", &link, &[], String::new()).await.status, StatusCode::OK);
    let options = site.send("OPTIONS", &link, &[], String::new()).await;
    let put = site.send("PUT", &link, &[], String::new()).await;
    let delete = site.send("DELETE", &link, &[], String::new()).await;

    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(delete.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(site.now_is(&before.id).await.version, before.version);
}

#[tokio::test]
async fn the_form_of_a_link_decides_without_a_cookie_and_then_the_link_is_dead() {
    let site = Site::new().await;
    let approval = site.pending(SECRET_CALL).await;
    let link = site.link(&approval.id, "ana").await;
    let page = site.get(&link, &[]).await;
    let fields = [
        ("decision", "approve"),
        ("reason", ""),
        ("digest", &page.field("digest")),
        ("form_token", &page.field("form_token")),
    ];

    let answer = site.post(&link, &[], &fields).await;
    let again = site.post(&link, &[], &fields).await;
    let used = site.get(&link, &[]).await;

    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("You approved this call"));
    let now = site.now_is(&approval.id).await;
    assert_eq!((now.state, now.decisions[0].via.as_str()), (State::Approved, "email"));
    for dead in [again, used] {
        assert_eq!(dead.status, StatusCode::GONE);
        assert!(dead.body.contains("approved") && dead.body.contains("ana"));
        assert!(dead.body.contains("2026-11-22 20:00:00 UTC"));
        assert!(!dead.body.contains("password") && !dead.body.contains("<form"));
    }
}

#[tokio::test]
async fn a_link_dies_for_everybody_when_somebody_has_decided() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let link = site.link(&approval.id, "bo").await;
    let page = site.get(&link, &[]).await;

    site.say(&approval.id, "ana", "reject").await;
    let seen = site.get(&link, &[]).await;
    let late = site
        .post(
            &link,
            &[],
            &[
                ("decision", "approve"),
                ("digest", &page.field("digest")),
                ("form_token", &page.field("form_token")),
            ],
        )
        .await;

    assert_eq!((seen.status, late.status), (StatusCode::GONE, StatusCode::GONE));
    assert!(late.body.contains("Already rejected by ana"));
    assert!(!late.body.contains("datastore_id"));
    assert_eq!(site.now_is(&approval.id).await.state, State::Rejected);
}

#[tokio::test]
async fn with_a_quorum_ones_own_link_dies_and_the_other_lives() {
    let site = Site::new().await;
    let approval = site.pending_with(CALL, |a| a.terms.quorum = 2).await;
    let (ana, bo) = (site.link(&approval.id, "ana").await, site.link(&approval.id, "bo").await);

    site.say(&approval.id, "ana", "approve").await;

    let own = site.get(&ana, &[]).await;
    assert_eq!(own.status, StatusCode::GONE);
    assert!(own.body.contains("1 of 2 approvals"));
    assert_eq!(site.get(&bo, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn forms_of_others_and_changed_digests_are_refused() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let link = site.link(&approval.id, "ana").await;
    let page = site.get(&link, &[]).await;
    let (digest, token) = (page.field("digest"), page.field("form_token"));
    let other = format!("sha256:{}", "0".repeat(64));

    let no_token = site.post(&link, &[], &[("decision", "approve"), ("digest", &digest)]).await;
    let wrong = site
        .post(&link, &[], &[("decision", "approve"), ("digest", &other), ("form_token", &token)])
        .await;
    let none = site.post(&link, &[], &[("decision", "approve"), ("form_token", &token)]).await;
    let odd = site
        .post(&link, &[], &[("decision", "maybe"), ("digest", &digest), ("form_token", &token)])
        .await;

    assert_eq!(no_token.status, StatusCode::FORBIDDEN);
    assert_eq!(wrong.status, StatusCode::CONFLICT);
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(odd.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.now_is(&approval.id).await.state, State::Pending);
}

#[tokio::test]
async fn a_foreign_origin_is_refused_and_a_null_one_passes_with_the_forms_token() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let link = site.link(&approval.id, "ana").await;
    let page = site.get(&link, &[]).await;
    let (digest, token) = (page.field("digest"), page.field("form_token"));
    let fields =
        [("decision", "approve"), ("digest", digest.as_str()), ("form_token", token.as_str())];

    let foreign = site.post(&link, &[("origin", "https://evil.example")], &fields).await;
    let null_without = site.post(&link, &[("origin", "null")], &fields[..2]).await;
    let null = site.post(&link, &[("origin", "null")], &fields).await;

    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert_eq!(null_without.status, StatusCode::FORBIDDEN);
    assert_eq!(null.status, StatusCode::OK);
}

#[tokio::test]
async fn somebody_else_signed_in_is_told_whose_link_it_is() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let link = site.link(&approval.id, "ana").await;
    let cookie = site.cookie("bo").await;

    let seen = site.get(&link, &[("cookie", &cookie)]).await;

    assert!(seen.body.contains("sent to ana"));
    assert!(!seen.body.contains("<form") && !seen.body.contains("datastore_id"));
    let own = site.cookie("ana").await;
    assert_eq!(site.get(&link, &[("cookie", &own)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn after_a_day_or_by_the_rules_wish_a_link_shows_but_does_not_decide() {
    let site = Site::new().await;
    let far = Duration::from_secs(3 * 86_400);
    let old = site.pending_with(CALL, |a| a.expires_at = a.created_at.plus(far)).await;
    let old_link = site.link(&old.id, "ana").await;
    let old_token = site.get(&old_link, &[]).await.field("form_token");
    site.clock.advance(Duration::from_secs(86_400));
    let strict = site.pending_with(SECRET_CALL, |a| a.terms.assurance = Assurance::Session).await;
    let strict_link = site.link(&strict.id, "ana").await;

    for (link, approval) in [(&old_link, &old), (&strict_link, &strict)] {
        let page = site.get(link, &[]).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.contains("Sign in and decide"));
        assert!(
            !page.body.contains("value=\"approve\"") && !page.body.contains("value=\"reject\"")
        );
        let digest = approval.digest().as_str();
        let fields = [("decision", "reject"), ("digest", digest), ("form_token", &old_token)];
        assert_eq!(site.post(link, &[], &fields).await.status, StatusCode::FORBIDDEN);
        assert_eq!(site.now_is(&approval.id).await.state, State::Pending);
    }
}

#[tokio::test]
async fn an_unknown_link_and_an_expired_call_show_nothing() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let link = site.link(&approval.id, "ana").await;
    site.clock.advance(Duration::from_secs(900));

    let unknown = site.get("/review/nonsense", &[]).await;
    let expired = site.get(&link, &[]).await;

    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(expired.status, StatusCode::GONE);
    assert!(expired.body.contains("nobody decided in time"));
    assert!(!expired.body.contains("datastore_id"));
}

#[tokio::test]
async fn masked_values_unfold_behind_a_link_too_and_it_is_recorded() {
    let site = Site::new().await;
    let approval = site.pending(SECRET_CALL).await;
    let link = site.link(&approval.id, "ana").await;
    let page = site.get(&link, &[]).await;

    let token = page.field("form_token");
    let shown = site.post(&format!("{link}/reveal"), &[], &[("form_token", &token)]).await;

    assert!(!page.body.contains("hunter2") && page.body.contains("‹masked, 7 characters"));
    assert!(shown.body.contains("hunter2") && shown.body.contains(">Approve</button>"));
    assert_eq!(site.audited(Kind::Revealed).await, 1);
}
