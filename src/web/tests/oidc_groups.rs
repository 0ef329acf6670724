//! Groups and roles that the provider must confirm: at the decision, at the claim, whatever way
//! somebody comes, and never more than the configuration gives.

use serde_json::json;

use super::issuer::start;
use super::oidc::{config_for, session_of, whole};
use super::*;
use crate::broker::call::execute::Wishes;
use crate::domain::risk::Severity;
use crate::upstream::Caller;

const NOW_S: i64 = 1_795_377_600;

/// Only those on call are asked, and the provider says who is.
async fn site() -> (Site, issuer::Issuer) {
    let issuer = start(NOW_S).await;
    let more =
        "sign_in_life = \"5m\"\ngroups = { oncall = [\"sre\"] }\nadmin_groups = [\"root\"]\n";
    let asked = "[upstreams.policy.tools.delete_image_set]\naction = \"require_approval\"\n\
                 approval = { reviewers = [\"group:oncall\"] }\n";
    let plain = "[upstreams.policy.tools.delete_image_set]\naction = \"require_approval\"\n";
    let admin = "name = \"root\"\nrole = \"admin\"\n";
    let text = config_for(&issuer.address, more)
        .replace(plain, asked)
        .replace(admin, &format!("{admin}email = \"root@example.org\"\n"));
    (Site::with_config(&text).await, issuer)
}

async fn pending(site: &Site) -> Approval {
    site.pending_with(CALL, |a| a.terms.reviewers = vec!["ana".to_owned()]).await
}

async fn approve(site: &Site, a: &Approval, cookie: &str) -> Answer {
    let token = site.session_form_token(cookie);
    let digest = a.digest().to_string();
    let fields = [("decision", "approve"), ("digest", &digest), ("form_token", &token)];
    site.post(&format!("/approvals/{}", a.id), &[("cookie", cookie)], &fields).await
}

/// Whether an approved call is taken for execution.
async fn claimed(site: &Site, id: &ApprovalId) -> bool {
    let caller = Caller::new("bot", None);
    site.web.broker.execute(id, &caller, &Wishes::default()).await.unwrap().is_some()
}

#[tokio::test]
async fn who_the_provider_has_in_the_group_approves_and_it_runs() {
    let (site, issuer) = site().await;
    issuer.claim("groups", json!(["staff", "sre"]));
    let approval = pending(&site).await;

    let session = session_of(&whole(&site, &issuer).await).unwrap();
    let answer = approve(&site, &approval, &session).await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert!(claimed(&site, &approval.id).await);
    assert_eq!(site.audited(Kind::GroupsConfirmed).await, 1);
    let words = site.store().oidc().claims(site.clock.now()).await.unwrap();
    assert_eq!(words[0].groups, ["sre"], "nothing is kept that nothing asks for");
}

#[tokio::test]
async fn who_is_in_the_group_only_here_may_reject_but_not_approve_by_any_way() {
    let (site, issuer) = site().await;
    issuer.claim("groups", json!(["staff"]));
    let approval = pending(&site).await;

    let session = session_of(&whole(&site, &issuer).await).unwrap();
    let by_session = approve(&site, &approval, &session).await;
    let by_other = approve(&site, &approval, &site.cookie("ana").await).await;
    let by_token = site.say(&approval.id, "ana", "approve").await;
    let link = site.link(&approval.id, "ana").await;
    let page = site.get(&link, &[]).await;
    let digest = approval.digest().to_string();
    let form_token = page.field("form_token");
    let fields = [("decision", "approve"), ("digest", &digest), ("form_token", &form_token)];
    let by_link = site.post(&link, &[], &fields).await;

    for refused in [by_session, by_other, by_token, by_link] {
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
        assert!(refused.body.contains("must have confirmed lately"), "{}", refused.body);
    }
    assert_eq!(site.now_is(&approval.id).await.state, State::Pending);
    assert_eq!(site.say(&approval.id, "ana", "reject").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_word_counts_for_its_time_and_only_the_last_one_does() {
    let (site, issuer) = site().await;
    issuer.claim("groups", json!("sre"));
    session_of(&whole(&site, &issuer).await).unwrap();
    site.clock.advance(Duration::from_mins(4));
    let approval = pending(&site).await;
    // It is the person's, so their token may do what their sign-in confirmed.
    assert_eq!(site.say(&approval.id, "ana", "approve").await.status, StatusCode::OK);

    site.clock.advance(Duration::from_mins(1));

    assert!(!claimed(&site, &approval.id).await, "it ran out before the claim");
    let after = site.now_is(&approval.id).await;
    assert_eq!(after.state, State::Cancelled);
    assert!(after.end_reason.unwrap().contains("no longer permitted"));
    let other = CALL.replace("prod", "other");
    let next = site.pending_with(&other, |a| a.terms.reviewers = vec!["ana".to_owned()]).await;
    assert_eq!(site.say(&next.id, "ana", "approve").await.status, StatusCode::FORBIDDEN);
    site.clock.advance(Duration::from_secs(1));
    issuer.claim("exp", json!(NOW_S + 3_600));
    session_of(&whole(&site, &issuer).await).unwrap();
    issuer.claim("groups", json!([]));
    session_of(&whole(&site, &issuer).await).unwrap();
    assert_eq!(site.say(&next.id, "ana", "approve").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_group_taken_away_between_approval_and_claim_stops_the_call() {
    let (site, issuer) = site().await;
    issuer.claim("groups", json!(["sre"]));
    let approval = pending(&site).await;
    let session = session_of(&whole(&site, &issuer).await).unwrap();
    assert_eq!(approve(&site, &approval, &session).await.status, StatusCode::SEE_OTHER);

    issuer.claim("groups", json!(["staff"]));
    session_of(&whole(&site, &issuer).await).unwrap();

    assert!(!claimed(&site, &approval.id).await);
    assert_eq!(site.now_is(&approval.id).await.state, State::Cancelled);
}

#[tokio::test]
async fn the_provider_makes_nobody_a_reviewer_of_what_they_are_not_asked_for() {
    let (site, issuer) = site().await;
    issuer.claim("groups", json!(["sre", "root"]));
    let approval = site.pending_with(CALL, |a| a.terms.reviewers = vec!["bo".to_owned()]).await;

    let session = session_of(&whole(&site, &issuer).await).unwrap();
    let answer = approve(&site, &approval, &session).await;

    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let audit = site.get("/audit", &[("cookie", &session)]).await;
    assert_eq!(audit.status, StatusCode::FORBIDDEN, "nor an admin");
}

#[tokio::test]
async fn an_admin_manages_only_while_the_provider_confirms_the_role() {
    let (site, issuer) = site().await;
    issuer.claim("email", json!("root@example.org"));
    issuer.claim("groups", json!(["root"]));
    let before = site.api("GET", "/audit", "root", "").await;

    session_of(&whole(&site, &issuer).await).unwrap();
    let confirmed = site.api("GET", "/audit", "root", "").await;
    site.clock.advance(Duration::from_mins(5));
    let over = site.api("GET", "/audit", "root", "").await;

    let all = [before.status, confirmed.status, over.status];
    assert_eq!(all, [StatusCode::FORBIDDEN, StatusCode::OK, StatusCode::FORBIDDEN]);
    assert!(site.api("GET", "/me", "root", "").await.body.contains("\"reviewer\""));
}

#[tokio::test]
async fn a_grant_stands_only_while_its_giver_is_confirmed() {
    const GRANTING: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
        "severity":"low","approval":{"reviewers":["group:oncall"],"grant":{"max_uses":3,"max_duration":"30m"}}}}}"#;
    let (site, issuer) = site().await;
    let policy = crate::domain::policy::Policy::read(GRANTING).unwrap().0;
    site.web.broker.policies().replace("images", Arc::new(policy));
    issuer.claim("groups", json!(["sre"]));
    let session = session_of(&whole(&site, &issuer).await).unwrap();
    let approval = site
        .pending_with(CALL, |a| {
            a.terms.reviewers = vec!["ana".to_owned()];
            a.severity = Some(Severity::Low);
            a.terms.tool_fingerprint = Some("delete_image_set".to_owned());
        })
        .await;
    assert_eq!(approve(&site, &approval, &session).await.status, StatusCode::SEE_OTHER);
    let wanted = || crate::broker::call::grants::Wanted {
        uses: 2,
        duration: Duration::from_mins(20),
        free: Vec::new(),
    };
    let broker = &site.web.broker;
    let ana = broker.config().reviewer("ana").unwrap().clone();
    broker.grant(&approval.id, &ana, wanted()).await.unwrap();
    assert!(broker.grants_for(&ana).await.unwrap()[0].grant.ended.is_none());

    issuer.claim("groups", json!([]));
    session_of(&whole(&site, &issuer).await).unwrap();

    let row = broker.grants_for(&ana).await.unwrap().remove(0);
    assert!(row.grant.ended.unwrap().reason.contains("may not approve this any more"));
    assert!(broker.grant(&approval.id, &ana, wanted()).await.is_err(), "nor is another given");
}
