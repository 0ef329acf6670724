//! What people hold counts only under the entry of the configuration that it was made under, and
//! until somebody ends it.

use super::*;
use crate::auth::Proven;
use crate::auth::personal_token::Scope;
use crate::broker::people::sign_in::one_time_token;
use crate::store::SignIn;

/// The configuration with one thing about ana changed.
fn changed(from: &str, to: &str) -> String {
    assert!(CONFIG.contains(from));
    CONFIG.replace(from, to)
}

fn without_ana() -> String {
    let start = CONFIG.find("[[reviewers]]\nname = \"ana\"").unwrap();
    let end = start + 1 + CONFIG[start + 1..].find("[[reviewers]]").unwrap();
    format!("{}{}", &CONFIG[..start], &CONFIG[end..])
}

/// All that ana holds: a cookie, a personal token, a review link, an unused sign-in link.
struct Held {
    cookie: String,
    token: String,
    review: String,
    sign_in: String,
}

impl Held {
    async fn by_ana(site: &Site, approval: &Approval) -> Self {
        Self {
            cookie: site.cookie("ana").await,
            token: token_by_ana(site).await,
            review: site.link(&approval.id, "ana").await,
            sign_in: site.web.broker.sign_in_to_mail("ana@example.org").await.unwrap().unwrap().1,
        }
    }

    /// Which of them still work.
    async fn working(&self, site: &Site) -> Vec<&'static str> {
        let mut work = Vec::new();
        let page = site.get("/", &[("cookie", &self.cookie)]).await;
        let reads = site.get("/api/v1/me", &[("cookie", &self.cookie)]).await;
        if page.status == StatusCode::OK || reads.status == StatusCode::OK {
            work.push("cookie");
        }
        let bearer = format!("Bearer {}", self.token);
        let me = site.get("/api/v1/me", &[("authorization", &bearer)]).await;
        if me.status == StatusCode::OK {
            work.push("token");
        }
        let review = site.get(&self.review, &[]).await;
        if review.body.contains("value=\"approve\"") || review.body.contains("hospital") {
            work.push("review link");
        }
        let sign_in = site.get(&format!("/sign-in/{}", self.sign_in), &[]).await;
        let redeemed = site.web.broker.redeem_sign_in(&self.sign_in, None).await.unwrap();
        if sign_in.status == StatusCode::OK || redeemed.is_some() {
            work.push("sign-in link");
        }
        work
    }
}

async fn token_by_ana(site: &Site) -> String {
    let ana = site.web.broker.config().reviewer("ana").unwrap().clone();
    let who = Proven { reviewer: &ana, assurance: Assurance::Session };
    let (life, scopes) = (Duration::from_hours(48), [Scope::Read, Scope::Decide]);
    site.web.broker.make_token(who, "ci", life, &scopes).await.unwrap()
}

#[tokio::test]
async fn nothing_made_under_an_entry_with_another_address_token_or_role_works() {
    for (from, to) in [
        ("ana@example.org", "anna@example.org"),
        ("ana-token-ana-token-ana", "new-token-new-token-new"),
        ("groups = [\"oncall\"]", "groups = [\"oncall\"]\nrole = \"admin\""),
    ] {
        let site = Site::new().await;
        let approval = site.pending(CALL).await;
        let held = Held::by_ana(&site, &approval).await;
        let untouched = site.cookie("bo").await;

        let after = site.restarted(&changed(from, to)).await;

        assert!(held.working(&after).await.is_empty(), "{to}");
        assert_eq!(after.get("/", &[("cookie", &untouched)]).await.status, StatusCode::OK);
        assert_eq!(after.audited(Kind::CredentialsEnded).await, 1);
        let again = site.restarted(CONFIG).await;
        assert!(held.working(&again).await.is_empty(), "the old entry revives nothing: {to}");
    }
}

#[tokio::test]
async fn each_use_looks_at_the_entry_though_nothing_was_ended_at_start() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let held = Held::by_ana(&site, &approval).await;
    let text = changed("ana@example.org", "anna@example.org");

    let other = Site::on(&text, site.file.clone(), site.sql.clone(), site.clock.clone());

    assert!(held.working(&other).await.is_empty());
    let all = ["cookie", "token", "review link", "sign-in link"];
    assert_eq!(held.working(&site).await, all, "another broker with the old entry");
}

#[tokio::test]
async fn what_a_person_holds_stays_over_a_restart_and_a_change_of_groups() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let held = Held::by_ana(&site, &approval).await;

    let after = site.restarted(&changed("groups = [\"oncall\"]", "groups = [\"night\"]")).await;

    let all = ["cookie", "token", "review link", "sign-in link"];
    assert_eq!(held.working(&after).await, all);
    assert_eq!(after.audited(Kind::CredentialsEnded).await, 0);
}

#[tokio::test]
async fn a_person_who_was_removed_and_added_again_holds_nothing_of_before() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let held = Held::by_ana(&site, &approval).await;

    let without = site.restarted(&without_ana()).await;
    assert!(held.working(&without).await.is_empty());
    let told = without.get(&held.review, &[]).await;
    assert_eq!(told.status, StatusCode::GONE, "and is told so");
    assert!(told.body.contains("works no more") && !told.body.contains("datastore"));

    let again = site.restarted(CONFIG).await;
    assert!(held.working(&again).await.is_empty());
    assert_eq!(again.get(&held.review, &[]).await.status, StatusCode::GONE);
    assert!(again.get("/", &[("cookie", &again.cookie("ana").await)]).await.status.is_success());
}

#[tokio::test]
async fn an_ended_review_link_decides_nothing() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let link = site.link(&approval.id, "ana").await;
    let form = site.get(&link, &[]).await.field("form_token");
    let after = site.restarted(&changed("ana@example.org", "anna@example.org")).await;

    let digest = approval.digest().to_string();
    let fields = [("decision", "approve"), ("digest", &digest), ("form_token", &form)];
    let posted = after.post(&link, &[], &fields).await;

    assert_eq!(posted.status, StatusCode::GONE);
    assert_eq!(after.now_is(&approval.id).await.state, State::Pending);
}

#[tokio::test]
async fn a_session_is_over_when_it_is_too_old_however_often_it_is_used() {
    let site =
        Site::with_config(&CONFIG.replace("[server]", "[people]\nsession_max = \"30h\"\n[server]"))
            .await;
    let cookie = site.cookie("ana").await;
    for _ in 0..2 {
        site.clock.advance(Duration::from_hours(10));
        assert_eq!(site.get("/", &[("cookie", &cookie)]).await.status, StatusCode::OK);
    }

    site.clock.advance(Duration::from_hours(10));

    assert_eq!(site.get("/", &[("cookie", &cookie)]).await.status, StatusCode::SEE_OTHER);
    let default = Site::new().await.web.broker.config().people.session_max;
    assert_eq!(default, Duration::from_hours(7 * 24));
}

#[tokio::test]
async fn an_admin_ends_all_that_another_holds_over_the_api() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let held = Held::by_ana(&site, &approval).await;
    let untouched = site.cookie("bo").await;
    let out = |name: &'static str, by: &'static str| {
        let site = &site;
        async move { site.api("POST", &format!("/people/{name}/sign-out"), by, "").await }
    };

    for by in ["bo", "kim", "ana"] {
        assert_eq!(out("ana", by).await.status, StatusCode::FORBIDDEN, "{by}");
    }
    assert_eq!(out("nobody", "root").await.status, StatusCode::NOT_FOUND);
    assert_eq!(out("ana", "wrong").await.status, StatusCode::UNAUTHORIZED);
    let done = out("ana", "root").await;

    assert_eq!(done.status, StatusCode::OK);
    assert_eq!(
        done.body,
        r#"{"name":"ana","sessions":1,"tokens":1,"sign_in_links":1,"review_links":1}"#
    );
    assert!(held.working(&site).await.is_empty());
    assert_eq!(site.get("/", &[("cookie", &untouched)]).await.status, StatusCode::OK);
    assert_eq!(site.audited(Kind::CredentialsEnded).await, 1);
    assert_eq!(site.api("GET", "/me", "ana", "").await.status, StatusCode::OK, "her own token");
}

#[tokio::test]
async fn an_admin_ends_all_that_another_holds_on_the_page() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let held = Held::by_ana(&site, &approval).await;
    let (root, bo) = (site.cookie("root").await, site.cookie("bo").await);
    let page = site.get("/people", &[("cookie", &root)]).await;
    assert!(page.body.contains("Sign out everywhere: ana"), "{}", page.body);
    assert_eq!(site.get("/people", &[("cookie", &bo)]).await.status, StatusCode::FORBIDDEN);
    assert!(!site.get("/", &[("cookie", &bo)]).await.body.contains("href=\"/people\""));
    let sign_out = |cookie: String| {
        let site = &site;
        async move {
            let token = site.session_form_token(&cookie);
            let fields = [("name", "ana"), ("form_token", &token)];
            site.post("/people/sign-out", &[("cookie", &cookie)], &fields).await.status
        }
    };

    assert_eq!(sign_out(bo).await, StatusCode::FORBIDDEN);
    let bare = site.post("/people/sign-out", &[("cookie", &root)], &[("name", "ana")]).await;
    assert_eq!(bare.status, StatusCode::FORBIDDEN, "without the form's token");
    assert_eq!(sign_out(root).await, StatusCode::SEE_OTHER);

    assert!(held.working(&site).await.is_empty());
}

#[tokio::test]
async fn switched_off_no_link_of_the_terminal_signs_in_and_its_sessions_are_over() {
    let site = Site::new().await;
    let cookies = [
        site.cookie_via("ana", "terminal").await,
        site.cookie_via("ana", "terminal-session").await,
    ];
    let sign_in = SignIn {
        reviewer: "ana".to_owned(),
        via: "terminal-session".to_owned(),
        entry: site.entry("ana"),
    };
    let until = site.clock.now().plus(Duration::from_mins(9));
    let token = one_time_token(&site.sql, &site.ids, &sign_in, until, None).await.unwrap();

    let off = CONFIG.replace("[server]", "[people]\nsign_in_link = false\n[server]");
    let off = site.restarted(&off).await;

    for cookie in cookies {
        assert_eq!(site.get("/", &[("cookie", &cookie)]).await.status, StatusCode::OK);
        assert_eq!(off.get("/", &[("cookie", &cookie)]).await.status, StatusCode::SEE_OTHER);
    }
    assert!(off.web.broker.redeem_sign_in(&token, None).await.unwrap().is_none());
}
