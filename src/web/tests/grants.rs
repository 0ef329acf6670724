//! `/grants`, the form that gives one, and the API.

use super::*;
use crate::domain::risk::Severity;

const GRANTING: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "severity":"high","approval":{"grant":{"max_uses":3,"max_duration":"30m"}}}}}"#;
const WITH_SECRET: &str = r#"{"name":"delete_image_set","arguments":{"store":"prod","id":"<b>7f</b>","password":"hunter2"}}"#;

/// A site whose rule offers grants, and a call that ana approved.
async fn approved(severity: Option<&str>) -> (Site, ApprovalId, String) {
    let site = Site::new().await;
    let policy = crate::domain::policy::Policy::read(GRANTING).unwrap().0;
    site.web.broker.policies().replace("images", Arc::new(policy));
    let approval = site
        .pending_with(WITH_SECRET, |a| {
            a.severity = severity.and_then(Severity::parse);
            a.terms.tool_fingerprint = Some("delete_image_set".to_owned());
        })
        .await;
    assert_eq!(site.say(&approval.id, "ana", "approve").await.status, StatusCode::OK);
    let cookie = site.cookie("ana").await;
    (site, approval.id, cookie)
}

async fn give(site: &Site, id: &ApprovalId, cookie: &str, more: &[(&str, &str)]) -> Answer {
    let token = site.session_form_token(cookie);
    let mut fields = vec![("form_token", token.as_str())];
    fields.extend(more);
    site.post(&format!("/approvals/{id}/grant"), &[("cookie", cookie)], &fields).await
}

#[tokio::test]
async fn a_grant_is_given_shown_and_revoked_on_the_pages() {
    let (site, id, cookie) = approved(Some("high")).await;
    let page = site.get(&format!("/approvals/{id}"), &[("cookie", &cookie)]).await;
    assert!(page.body.contains("At most 3 calls within 30 minutes."), "{}", page.body);
    assert!(page.body.contains(r#"name="free" value="/id""#));
    assert!(!page.body.contains("hunter2") && !page.body.contains("<b>7f"));
    let other = site.cookie("bo").await;
    let page = site.get(&format!("/approvals/{id}"), &[("cookie", &other)]).await;
    assert!(!page.body.contains("At most 3 calls"), "bo did not approve it");

    let free = [("uses", "2"), ("minutes", "10"), ("free", "/id"), ("free", "/store")];
    let given = give(&site, &id, &cookie, &free).await;
    assert_eq!((given.status, given.header("location")), (StatusCode::SEE_OTHER, "/grants"));

    let page = site.get("/grants", &[("cookie", &other)]).await;
    for part in ["0 of 2", "/store, /id", "for bot", "open", "‹masked, 7 characters"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(!page.body.contains("hunter2") && !page.body.contains("Revoke</button>"));
    let listed = site.api("GET", "/grants", "bo", "").await;
    assert!(listed.body.contains(r#""free":["/store","/id"]"#), "{}", listed.body);
    assert!(!listed.body.contains("hunter2"));

    let page = site.get("/grants", &[("cookie", &cookie)]).await;
    let start = page.body.find("/grants/grt_").unwrap();
    let path = page.body[start..].split('"').next().unwrap().to_owned();
    let no_token = site.post(&path, &[("cookie", &cookie)], &[]).await;
    assert_eq!(no_token.status, StatusCode::FORBIDDEN);
    let token = site.session_form_token(&cookie);
    let revoked = site.post(&path, &[("cookie", &cookie)], &[("form_token", &token)]).await;
    assert_eq!(revoked.header("location"), "/grants");
    let page = site.get("/grants", &[("cookie", &cookie)]).await;
    assert!(page.body.contains("revoked, by ana") && !page.body.contains("Revoke</button>"));
    assert_eq!(site.audited(Kind::GrantMade).await, 1);
    assert_eq!(site.audited(Kind::GrantEnded).await, 1);
}

#[tokio::test]
async fn what_is_critical_or_not_classified_offers_no_grant() {
    for severity in [None, Some("critical")] {
        let (site, id, cookie) = approved(severity).await;

        let page = site.get(&format!("/approvals/{id}"), &[("cookie", &cookie)]).await;
        assert!(!page.body.contains("let the next calls"), "{}", page.body);
        let refused = give(&site, &id, &cookie, &[("uses", "1"), ("minutes", "1")]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(site.get("/grants", &[("cookie", &cookie)]).await.body.contains("Nothing is let"));
    }
}

#[tokio::test]
async fn forms_and_the_api_refuse_what_makes_no_sense() {
    let (site, id, cookie) = approved(Some("low")).await;

    for fields in [
        [("uses", "x"), ("minutes", "1"), ("free", "/id")],
        [("uses", "1"), ("minutes", "-1"), ("free", "/id")],
        [("uses", "4"), ("minutes", "1"), ("free", "/id")],
        [("uses", "1"), ("minutes", "1"), ("free", "/nothing")],
    ] {
        let refused = give(&site, &id, &cookie, &fields).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
    }
    let path = format!("/approvals/{id}/grant");
    let fields = [("uses", "1"), ("minutes", "1"), ("form_token", "x")];
    let forged = site.post(&path, &[("cookie", &cookie)], &fields).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let anonymous = site.post(&path, &[], &fields).await;
    assert_eq!(anonymous.header("location"), "/sign-in");

    give(&site, &id, &cookie, &[("uses", "1"), ("minutes", "1")]).await;
    let listed = site.api("GET", "/grants", "ana", "").await;
    let start = listed.body.find("grt_").unwrap();
    let grant = listed.body[start..start + 36].to_owned();
    let revoke = async |who: &str, id: &str| {
        site.api("POST", &format!("/grants/{id}/revoke"), who, "").await.status
    };
    assert_eq!(revoke("bo", &grant).await, StatusCode::FORBIDDEN);
    assert_eq!(revoke("ana", "grt_0").await, StatusCode::NOT_FOUND);
    assert_eq!(revoke("olga", &grant).await, StatusCode::OK, "her own agent's");
    assert!(site.api("GET", "/grants", "ana", "").await.body.contains(r#""by":"olga""#));
}
