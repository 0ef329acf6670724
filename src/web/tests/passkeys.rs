//! Passkeys: added under Settings, and asked for where a rule wants one to approve.

use super::authenticator::{Authenticator, Lie, TRUE};
use super::*;
use crate::domain::risk::Severity;

async fn post(site: &Site, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = site.session_form_token(cookie);
    let mut all = vec![("form_token", token.as_str())];
    all.extend(fields);
    site.post(path, &[("cookie", cookie)], &all).await
}

/// Adds a passkey as a browser would.
async fn added(site: &Site, cookie: &str, seed: u8) -> Authenticator {
    let mut device = Authenticator::new(seed);
    let begun = post(site, cookie, "/settings/passkeys/begin", &[]).await;
    assert_eq!((begun.status, begun.header("content-type")), (StatusCode::OK, "application/json"));
    let made = device.make(&begun.body, &TRUE);
    let fields = [("name", "phone"), ("passkey", made.as_str())];
    let added = post(site, cookie, "/settings/passkeys", &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.body);
    device
}

/// A call whose approval needs a passkey.
async fn critical(site: &Site, n: u32) -> Approval {
    let call = format!("{{\"name\":\"delete_image_set\",\"arguments\":{{\"n\":{n}}}}}");
    site.pending_with(&call, |a| {
        a.terms.assurance = Assurance::Passkey;
        a.severity = Some(Severity::Low);
    })
    .await
}

async fn begun(site: &Site, cookie: &str, a: &Approval) -> String {
    let fields = [("digest", a.digest().as_str())];
    let answer = post(site, cookie, &format!("/approvals/{}/passkey", a.id), &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

async fn approve(site: &Site, cookie: &str, a: &Approval, passkey: &str) -> Answer {
    let digest = a.digest().to_string();
    let fields = [("decision", "approve"), ("digest", &digest), ("passkey", passkey)];
    post(site, cookie, &format!("/approvals/{}", a.id), &fields).await
}

#[tokio::test]
async fn a_passkey_confirms_the_decision_it_was_asked_for() {
    let site = Site::named().await;
    let cookie = site.cookie("ana").await;
    let a = critical(&site, 1).await;
    let path = format!("/approvals/{}", a.id);
    let before = site.get(&path, &[("cookie", &cookie)]).await;
    assert!(before.body.contains("needs a passkey of yours"), "{}", before.body);
    assert!(!before.body.contains(">Approve</button>"));
    let mut device = added(&site, &cookie, 1).await;

    let page = site.get(&path, &[("cookie", &cookie)]).await;
    assert!(page.body.contains(&format!("data-passkey=\"{path}/passkey\"")), "{}", page.body);
    let without = approve(&site, &cookie, &a, "").await;
    assert_eq!(without.status, StatusCode::FORBIDDEN, "without scripts");
    let options = begun(&site, &cookie, &a).await;
    let done = approve(&site, &cookie, &a, &device.give(&options, &TRUE)).await;

    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let now = site.now_is(&a.id).await;
    assert_eq!(now.state, State::Approved);
    assert_eq!(now.decisions[0].assurance, Assurance::Passkey);
    let page = site.get(&path, &[("cookie", &cookie)]).await;
    assert!(page.body.contains("by the website, with a passkey"), "{}", page.body);
    assert_eq!(site.audited(Kind::PasskeyAdded).await, 1);
    assert_eq!(site.audited(Kind::PasskeyUsed).await, 1);
    let settings = site.get("/settings", &[("cookie", &cookie)]).await;
    assert!(settings.body.contains("<b>phone</b>") && settings.body.contains("used <time"));
}

#[tokio::test]
async fn rejecting_needs_no_passkey_and_no_other_way_approves() {
    let site = Site::named().await;
    let cookie = site.cookie("ana").await;
    added(&site, &cookie, 1).await;
    let (a, b) = (critical(&site, 1).await, critical(&site, 2).await);

    let by_api = site.say(&a.id, "ana", "approve").await;
    let digest = a.digest().to_string();
    let chosen = format!("{} {digest}", a.id);
    let together =
        post(&site, &cookie, "/bulk", &[("call", &chosen), ("decision", "approve")]).await;
    let link = site.link(&b.id, "ana").await;
    let mailed = site.get(&link, &[]).await;

    assert_eq!(by_api.status, StatusCode::FORBIDDEN);
    assert!(by_api.body.contains("needs a passkey"), "{}", by_api.body);
    assert!(together.body.contains("not counted"), "{}", together.body);
    assert!(mailed.body.contains("Sign in and decide") && !mailed.body.contains(">Approve<"));
    assert_eq!(site.now_is(&a.id).await.state, State::Pending);
    let fields = [("decision", "reject"), ("digest", digest.as_str())];
    post(&site, &cookie, &format!("/approvals/{}", a.id), &fields).await;
    assert_eq!(site.now_is(&a.id).await.state, State::Rejected);
}

#[tokio::test]
async fn an_answer_with_anything_wrong_decides_nothing() {
    let site = Site::named().await;
    let cookie = site.cookie("ana").await;
    let mut device = added(&site, &cookie, 1).await;
    // One true use, so that the counter can go back.
    let first = critical(&site, 0).await;
    let options = begun(&site, &cookie, &first).await;
    let spent = device.give(&options, &TRUE);
    assert_eq!(approve(&site, &cookie, &first, &spent).await.status, StatusCode::SEE_OTHER);
    let lies = [
        ("origin", Lie { origin: "http://localhost:9999", ..TRUE }),
        ("party", Lie { party: "example.org", ..TRUE }),
        ("user not verified", Lie { flags: 1, ..TRUE }),
        ("user not there", Lie { flags: 4, ..TRUE }),
        ("counter the same", Lie { counter: Some(1), ..TRUE }),
        ("counter back", Lie { counter: Some(0), ..TRUE }),
        ("another key", Lie { sign_with: Some(9), ..TRUE }),
        ("unknown credential", Lie { id: Some([9; 32]), ..TRUE }),
    ];
    for (n, (what, lie)) in lies.iter().enumerate() {
        let a = critical(&site, u32::try_from(n).unwrap() + 10).await;
        let options = begun(&site, &cookie, &a).await;
        let refused = approve(&site, &cookie, &a, &device.give(&options, lie)).await;

        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{what}");
        assert!(refused.body.contains("not accepted"), "{what}: {}", refused.body);
        assert_eq!(site.now_is(&a.id).await.state, State::Pending, "{what}");
        // The same challenge is not good for the truth either.
        let again = approve(&site, &cookie, &a, &device.give(&options, &TRUE)).await;
        assert_eq!(again.status, StatusCode::FORBIDDEN, "{what}");
    }
    assert_eq!(site.audited(Kind::PasskeyRefused).await, lies.len());
    let a = critical(&site, 99).await;
    let options = begun(&site, &cookie, &a).await;
    let nonsense = approve(&site, &cookie, &a, "{\"id\":7}").await;
    assert_eq!(nonsense.status, StatusCode::UNPROCESSABLE_ENTITY);
    let fine = approve(&site, &cookie, &a, &device.give(&options, &TRUE)).await;
    assert_eq!(fine.status, StatusCode::SEE_OTHER, "the device works still");
}

#[tokio::test]
async fn a_challenge_is_for_one_person_one_call_once_and_not_for_long() {
    let site = Site::named().await;
    let (ana, bo) = (site.cookie("ana").await, site.cookie("bo").await);
    let (mut hers, mut his) = (added(&site, &ana, 1).await, added(&site, &bo, 2).await);
    let (a, b) = (critical(&site, 1).await, critical(&site, 2).await);
    let refused = async |cookie: &str, a: &Approval, answer: &str| {
        let refused = approve(&site, cookie, a, answer).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
        assert_eq!(site.now_is(&a.id).await.state, State::Pending);
    };

    // Another call's.
    let options = begun(&site, &ana, &a).await;
    refused(&ana, &b, &hers.give(&options, &TRUE)).await;
    // Another person's challenge, and another person's passkey.
    let options = begun(&site, &ana, &a).await;
    refused(&bo, &a, &his.give(&options, &TRUE)).await;
    let options = begun(&site, &ana, &a).await;
    refused(&ana, &a, &his.give(&options, &TRUE)).await;
    // Of a call that looked otherwise.
    let other = [("digest", b.digest().as_str())];
    let options = post(&site, &ana, &format!("/approvals/{}/passkey", a.id), &other).await.body;
    refused(&ana, &a, &hers.give(&options, &TRUE)).await;
    // Too late.
    let options = begun(&site, &ana, &a).await;
    site.clock.advance(Duration::from_secs(121));
    refused(&ana, &a, &hers.give(&options, &TRUE)).await;
    // Begun anew: the earlier one is over.
    let earlier = begun(&site, &ana, &a).await;
    let options = begun(&site, &ana, &a).await;
    refused(&ana, &a, &hers.give(&earlier, &TRUE)).await;
    // Made for adding.
    let adding = post(&site, &ana, "/settings/passkeys/begin", &[]).await.body;
    refused(&ana, &a, &hers.give(&adding, &TRUE)).await;
    // Once.
    let answer = hers.give(&options, &TRUE);
    assert_eq!(approve(&site, &ana, &a, &answer).await.status, StatusCode::SEE_OTHER);
    refused(&ana, &b, &answer).await;
    // Removed.
    let page = site.get("/settings", &[("cookie", &ana)]).await.body;
    let start = page.find("/settings/passkeys/remove").unwrap();
    let id = page[start..].split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let foreign = post(&site, &bo, "/settings/passkeys/remove", &[("id", id)]).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    post(&site, &ana, "/settings/passkeys/remove", &[("id", id)]).await;
    assert_eq!(site.audited(Kind::PasskeyRemoved).await, 1);
    let options = begun(&site, &ana, &b).await;
    refused(&ana, &b, &hers.give(&options, &TRUE)).await;
}

#[tokio::test]
async fn passkeys_are_added_by_who_is_surely_themselves_and_only_so_many() {
    let site = Site::with_config(
        &CONFIG
            .replace("http://127.0.0.1:8420", "http://localhost:8420")
            .replace("[[upstreams]]\nname", "[people]\nmax_passkeys = 2\n[[upstreams]]\nname"),
    )
    .await;
    let (cookie, mailed) = (site.cookie("ana").await, site.cookie_via("ana", "link").await);
    let begin = async |cookie: &str| post(&site, cookie, "/settings/passkeys/begin", &[]).await;
    let add = async |name: &str, passkey: &str| {
        let fields = [("name", name), ("passkey", passkey)];
        post(&site, &cookie, "/settings/passkeys", &fields).await
    };

    let weak = begin(&mailed).await;
    assert_eq!(weak.status, StatusCode::FORBIDDEN);
    assert!(weak.body.contains("mailed link"), "{}", weak.body);
    let said = site.get("/settings", &[("cookie", &mailed)]).await;
    assert!(said.body.contains("To add a passkey, sign in"), "{}", said.body);
    let unnamed = Authenticator::new(1).make(&begin(&cookie).await.body, &TRUE);
    assert_eq!(add(" ", &unnamed).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(add(&"x".repeat(61), &unnamed).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(add("x", "").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    for lie in [
        Lie { origin: "https://evil.example", ..TRUE },
        Lie { party: "evil.example", ..TRUE },
        Lie { flags: 1, ..TRUE },
    ] {
        let made = Authenticator::new(1).make(&begin(&cookie).await.body, &lie);
        assert_eq!(add("x", &made).await.status, StatusCode::FORBIDDEN, "{lie:?}");
    }
    added(&site, &cookie, 1).await;
    let same = Authenticator::new(1).make(&begin(&cookie).await.body, &TRUE);
    assert!(add("twin", &same).await.body.contains("known already"));
    added(&site, &cookie, 2).await;
    let full = begin(&cookie).await;
    assert_eq!(full.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(full.body.contains("people.max_passkeys"), "{}", full.body);
}

#[tokio::test]
async fn without_a_name_there_are_no_passkeys() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;

    let page = site.get("/settings", &[("cookie", &cookie)]).await;
    let begun = post(&site, &cookie, "/settings/passkeys/begin", &[]).await;

    assert!(page.body.contains("Browsers have no passkeys for this address"));
    assert!(!page.body.contains("Add a passkey"));
    assert_eq!(begun.status, StatusCode::FORBIDDEN);
}
