//! `/agents`.

use super::*;

async fn teach(site: &Site) {
    for _ in 0..3 {
        let event = AuditEvent::new(Kind::HoldBudgetLearned, "placet", site.clock.now());
        site.store()
            .agents()
            .hold_dropped("bot", false, Duration::from_mins(1), event)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn every_signed_in_reviewer_sees_how_agents_are_held() {
    let site = Site::new().await;
    site.pending(CALL).await;
    teach(&site).await;

    for who in ["ana", "olga", "root", "kim"] {
        let page = site.get("/agents", &[("cookie", &site.cookie(who).await)]).await;

        assert_eq!(page.status, StatusCode::OK);
        for part in ["bot", "olga", "images", "bot/1", "1 pending", "48 s", "learned"] {
            assert!(page.body.contains(part), "{who} {part}: {}", page.body);
        }
        let may = page.body.contains("Forget what was learned");
        assert_eq!(may, who == "root", "{who}");
        assert!(page.body.contains(r#"href="/agents" aria-current="page""#));
    }
}

#[tokio::test]
async fn an_admins_form_has_it_forgotten_and_nobody_elses() {
    let site = Site::new().await;
    teach(&site).await;
    let learned =
        async || site.store().agents().hold_budget("bot", false).await.unwrap().learned.is_some();
    for (who, token, status) in [
        ("ana", true, StatusCode::FORBIDDEN),
        ("kim", true, StatusCode::FORBIDDEN),
        ("root", false, StatusCode::FORBIDDEN),
    ] {
        let cookie = site.cookie(who).await;
        let form_token = if token { site.session_form_token(&cookie) } else { "x".to_owned() };
        let fields = [("agent", "bot"), ("form_token", form_token.as_str())];
        let answer = site.post("/agents/forget", &[("cookie", &cookie)], &fields).await;
        assert_eq!(answer.status, status, "{who}");
        assert!(learned().await, "{who}");
    }
    let anonymous = site.post("/agents/forget", &[], &[("agent", "bot")]).await;
    assert_eq!(anonymous.header("location"), "/sign-in");

    let cookie = site.cookie("root").await;
    let page = site.get("/agents", &[("cookie", &cookie)]).await;
    let fields = [("agent", "bot"), ("form_token", &page.field("form_token"))];
    let answer = site.post("/agents/forget", &[("cookie", &cookie)], &fields).await;

    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/agents"));
    assert!(!learned().await);
    assert_eq!(site.audited(Kind::HoldBudgetForgotten).await, 1);
    let unknown = [("agent", "<b>"), ("form_token", &page.field("form_token"))];
    let answer = site.post("/agents/forget", &[("cookie", &cookie)], &unknown).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_api_lists_agents_for_reviewers_only() {
    let site = Site::new().await;
    teach(&site).await;

    let listed = site.api("GET", "/agents", "ana", "").await;
    let stranger = site.api("GET", "/agents", "bot", "").await;

    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    let at = site.clock.now();
    let until = at.plus(Duration::from_hours(24));
    assert_eq!(
        listed.body,
        format!(
            r#"{{"agents":[{{"name":"bot","owner":"olga","upstreams":["images"],"holds":[{{"with_progress":false,"budget_ms":48000,"source":"learned","learned":{{"budget_ms":48000,"at":"{at}","until":"{until}"}},"drops_ms":[]}},{{"with_progress":true,"budget_ms":50000,"source":"approvals","learned":null,"drops_ms":[]}}],"client":null,"seen_at":null,"sessions":0,"pending":0,"approved":0}}]}}"#
        )
    );
}
