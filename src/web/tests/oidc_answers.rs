//! What a provider answers besides the ID token: tokens, what it tells of a person when asked, and
//! how it wants to be asked.

use serde_json::{Value, json};

use super::issuer::{Issuer, SECRET, start};
use super::oidc::{config_for, refused, session_of, site_with, whole};
use super::*;

const NOW_S: i64 = 1_795_377_600;

/// A site whose provider tells the address only when asked.
async fn asking() -> (Site, Issuer) {
    let (site, issuer) = site_with("").await;
    let only = vec!["email".to_owned(), "email_verified".to_owned()];
    issuer.change(|m| m.only_userinfo = only);
    (site, issuer)
}

fn members(value: &Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn tokens_that_lack_one_or_are_no_texts_sign_nobody_in() {
    for tokens in [
        json!({ "id_token": null }),
        json!({ "id_token": ["a.b.c"] }),
        json!({ "id_token": "" }),
        json!({ "access_token": null }),
        json!({ "access_token": 1 }),
        json!({ "token_type": null }),
    ] {
        let (site, issuer) = site_with("").await;
        issuer.change(|m| m.tokens = members(&tokens));

        let answer = whole(&site, &issuer).await;

        refused(&site, &answer, "invalid_answer").await;
    }
}

#[tokio::test]
async fn what_is_told_of_somebody_else_or_in_other_kinds_counts_for_nobody() {
    for userinfo in [
        json!({ "sub": "subject-of-bo" }),
        json!({ "sub": null }),
        json!({ "sub": ["subject-of-ana"] }),
        json!({ "email": ["ana@example.org"] }),
        json!({ "email_verified": "true" }),
    ] {
        let (site, issuer) = asking().await;
        issuer.change(|m| m.userinfo = members(&userinfo));

        let answer = whole(&site, &issuer).await;

        refused(&site, &answer, "provider_unavailable").await;
    }
}

#[tokio::test]
async fn what_is_told_may_be_signed_and_then_it_must_be_by_the_provider_for_us() {
    let (site, issuer) = asking().await;
    issuer.change(|m| m.signs_userinfo = true);
    assert!(session_of(&whole(&site, &issuer).await).is_some());

    for userinfo in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": null }),
        json!({ "aud": "another-client" }),
        json!({ "aud": null }),
        json!({ "sub": "subject-of-bo" }),
    ] {
        let (site, issuer) = asking().await;
        issuer.change(|m| {
            m.signs_userinfo = true;
            m.userinfo = members(&userinfo);
        });

        let answer = whole(&site, &issuer).await;

        refused(&site, &answer, "provider_unavailable").await;
    }
}

#[tokio::test]
async fn an_access_token_of_an_unknown_kind_is_not_used() {
    let (site, issuer) = asking().await;
    issuer.change(|m| m.tokens = members(&json!({ "token_type": "mac" })));

    let answer = whole(&site, &issuer).await;

    refused(&site, &answer, "invalid_answer").await;
    issuer.change(|m| m.tokens = members(&json!({ "token_type": "bearer" })));
    assert!(session_of(&whole(&site, &issuer).await).is_some());
}

#[tokio::test]
async fn the_secret_goes_where_the_provider_takes_it() {
    let (site, issuer) = site_with("").await;
    issuer.change(|m| {
        let methods = json!(["client_secret_post", "private_key_jwt"]);
        m.metadata.insert("token_endpoint_auth_methods_supported".to_owned(), methods);
        m.secret = "form";
    });
    assert!(session_of(&whole(&site, &issuer).await).is_some());

    let issuer = start(NOW_S).await;
    let public =
        config_for(&issuer.address, "").replace(&format!("client_secret = \"{SECRET}\"\n"), "");
    let site = Site::with_config(&public).await;
    issuer.change(|m| m.secret = "none");
    assert!(session_of(&whole(&site, &issuer).await).is_some());
}
