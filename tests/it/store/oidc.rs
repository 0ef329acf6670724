//! Attempts to sign in through a provider, and its words about people.

use placet::domain::audit::{AuditEvent, Kind};
use placet::store::oidc::ProviderClaims;
use placet::store::{Session, Store as _};

use crate::support::approvals::{T0, at, old};
use crate::support::db::{Database, on_each};

fn session(hash: &str) -> Session {
    Session {
        hash: hash.to_owned(),
        reviewer: "ben".to_owned(),
        via: "oidc".to_owned(),
        client: None,
        created_at: at(1),
        seen_at: at(1),
        entry: "e".to_owned(),
    }
}

fn word(groups: &[&str], expires: u64) -> ProviderClaims {
    ProviderClaims {
        reviewer: "ben".to_owned(),
        issuer: "https://login.example.org".to_owned(),
        subject: "s1".to_owned(),
        groups: groups.iter().map(ToString::to_string).collect(),
        said_at: at(1),
        expires_at: at(expires),
        entry: "e".to_owned(),
    }
}

#[tokio::test]
async fn an_attempt_is_used_once_by_whoever_is_first() {
    on_each(async |db: &Database| {
        let oidc = db.store.oidc();

        let (a, b) = tokio::join!(oidc.use_attempt("h", at(10)), oidc.use_attempt("h", at(10)));

        assert_eq!(u8::from(a.unwrap()) + u8::from(b.unwrap()), 1);
        assert!(oidc.use_attempt("other", at(20)).await.unwrap());
        assert!(!oidc.use_attempt("h", at(10)).await.unwrap());
        assert_eq!(db.store.purge(at(10), old(T0)).await.unwrap(), 1);
        assert!(!oidc.use_attempt("other", at(20)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn the_last_claims_about_a_person_count_until_they_run_out() {
    on_each(async |db: &Database| {
        let oidc = db.store.oidc();
        let event = || AuditEvent::new(Kind::GroupsConfirmed, "ben", at(1));
        oidc.sign_in(&session("a"), Some((&word(&["sre", "x, \"y\""], 50), event())))
            .await
            .unwrap();
        assert_eq!(oidc.claims(at(2)).await.unwrap(), [word(&["sre", "x, \"y\""], 50)]);

        oidc.sign_in(&session("b"), Some((&word(&[], 60), event()))).await.unwrap();
        oidc.sign_in(&session("c"), None).await.unwrap();

        assert_eq!(oidc.claims(at(59)).await.unwrap(), [word(&[], 60)]);
        assert_eq!(oidc.claims(at(60)).await.unwrap(), []);
        assert!(db.store.sessions().find("c", T0, at(2)).await.unwrap().is_some());
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 5);
        assert_eq!(db.store.purge(at(60), old(T0)).await.unwrap(), 1);
    })
    .await;
}
