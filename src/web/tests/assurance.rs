//! How surely a decision must come from the reviewer.

use super::*;

async fn strict(site: &Site) -> Approval {
    site.pending_with(CALL, |a| a.terms.assurance = Assurance::Session).await
}

async fn says(site: &Site, a: &Approval, via: &str, decision: &str) -> Answer {
    let cookie = site.cookie_via("ana", via).await;
    let token = site.session_form_token(&cookie);
    let digest = a.digest().to_string();
    let fields = [("decision", decision), ("digest", &digest), ("form_token", &token)];
    site.post(&format!("/approvals/{}", a.id), &[("cookie", &cookie)], &fields).await
}

#[tokio::test]
async fn a_mailed_sign_in_link_is_not_sure_enough_where_the_rule_asks_for_a_session() {
    let site = Site::new().await;
    let approval = strict(&site).await;
    let cookie = site.cookie_via("ana", "link").await;

    let page = site.get(&format!("/approvals/{}", approval.id), &[("cookie", &cookie)]).await;
    let approved = says(&site, &approval, "link", "approve").await;

    assert!(page.body.contains("signed in by a mailed link"), "{}", page.body);
    assert!(!page.body.contains("value=\"approve\"") && page.body.contains("value=\"reject\""));
    assert_eq!(approved.status, StatusCode::FORBIDDEN);
    assert!(approved.body.contains("other than a mailed link"));
    assert_eq!(site.now_is(&approval.id).await.state, State::Pending);

    let rejected = says(&site, &approval, "link", "reject").await;

    assert_eq!(rejected.status, StatusCode::SEE_OTHER, "the safe thing is always there");
    assert_eq!(site.now_is(&approval.id).await.state, State::Rejected);
}

#[tokio::test]
async fn what_is_sure_enough_decides_and_is_recorded() {
    // Sessions of a provider count while one is configured.
    let provider = "[oidc]\nissuer = \"https://login.example.org\"\nclient_id = \"placet\"\n";
    let site = Site::with_config(&format!("{CONFIG}\n{provider}")).await;
    for via in ["token", "terminal-session", "oidc"] {
        let call = CALL.replace("prod", via);
        let approval = site.pending_with(&call, |a| a.terms.assurance = Assurance::Session).await;

        assert_eq!(says(&site, &approval, via, "approve").await.status, StatusCode::SEE_OTHER);

        let after = site.now_is(&approval.id).await;
        assert_eq!(after.state, State::Approved, "{via}");
        assert_eq!(after.decisions[0].assurance, Assurance::Session);
    }
    let by_token = strict(&site).await;
    assert_eq!(site.say(&by_token.id, "ana", "approve").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_mailed_sign_in_link_decides_where_nothing_more_is_asked_for() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;

    assert_eq!(says(&site, &approval, "link", "approve").await.status, StatusCode::SEE_OTHER);

    assert_eq!(site.now_is(&approval.id).await.decisions[0].assurance, Assurance::Link);
}

#[tokio::test]
async fn a_link_from_the_terminal_proves_no_more_than_a_mailed_one() {
    let site = Site::new().await;
    let approval = strict(&site).await;

    assert_eq!(says(&site, &approval, "terminal", "approve").await.status, StatusCode::FORBIDDEN);
    let cookie = site.cookie_via("ana", "terminal").await;
    let page = site.get("/settings", &[("cookie", &cookie)]).await;

    assert!(page.body.contains("by the link on the terminal"));
    assert_eq!(site.now_is(&approval.id).await.state, State::Pending);
}

#[tokio::test]
async fn to_repeat_ones_own_approval_takes_no_more_than_to_have_given_it() {
    let site = Site::new().await;
    let approval = site
        .pending_with(CALL, |a| {
            a.terms.assurance = Assurance::Session;
            a.terms.quorum = 2;
        })
        .await;
    assert_eq!(says(&site, &approval, "token", "approve").await.status, StatusCode::SEE_OTHER);
    let version = site.now_is(&approval.id).await.version;

    let again = says(&site, &approval, "link", "approve").await;

    assert_eq!(again.status, StatusCode::SEE_OTHER);
    assert_eq!(site.now_is(&approval.id).await.version, version, "nothing is stored");
}

#[tokio::test]
async fn a_link_that_only_shows_says_so_once() {
    let site = Site::new().await;
    let approval = strict(&site).await;
    let link = site.link(&approval.id, "ana").await;

    let page = site.get(&link, &[]).await;

    assert!(page.body.contains("The rule wants you to be signed in to decide this call."));
    assert!(!page.body.contains("You may reject it"), "not by this link");
}
