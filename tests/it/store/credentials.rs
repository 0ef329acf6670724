//! What people hold, ended together.

use placet::domain::approval::Assurance;
use placet::domain::audit::{AuditEvent, Kind};
use placet::store::credentials::Ended;
use placet::store::passkeys::Passkey;
use placet::store::settings::PersonalToken;
use placet::store::{ReviewLink, Session, SignIn, Store as _};

use crate::support::approvals::{T0, at, id};
use crate::support::db::{Database, on_each};

/// One of each, for a person under an entry.
async fn hold(db: &Database, who: &str, entry: &str) {
    let (who, entry) = (who.to_owned(), entry.to_owned());
    let hash = format!("{who}-{entry}");
    let event = |kind| AuditEvent::new(kind, &who, T0);
    let session = Session {
        hash: hash.clone(),
        reviewer: who.clone(),
        via: "token".to_owned(),
        client: None,
        created_at: T0,
        seen_at: T0,
        entry: entry.clone(),
    };
    db.store.sessions().insert(&session).await.unwrap();
    let sign_in = SignIn { reviewer: who.clone(), via: "link".to_owned(), entry: entry.clone() };
    db.store.sessions().insert_sign_in(&hash, &sign_in, at(900), None).await.unwrap();
    let token = PersonalToken {
        id: hash.clone(),
        reviewer: who.clone(),
        name: "ci".to_owned(),
        scopes: vec!["read".to_owned()],
        assurance: Assurance::Session,
        created_at: T0,
        expires_at: at(900),
        used_at: None,
        entry: entry.clone(),
    };
    let made = event(Kind::TokenMade);
    assert!(db.store.settings().insert_token(&hash, &token, 9, made).await.unwrap());
    let link = ReviewLink {
        hash: hash.clone(),
        approval: id(1),
        reviewer: who.clone(),
        created_at: T0,
        entry: entry.clone(),
    };
    db.store.review_links().insert(&link).await.unwrap();
    let key = Passkey {
        id: hash.clone(),
        reviewer: who.clone(),
        name: "phone".to_owned(),
        handle: "h".to_owned(),
        public_key: "k".to_owned(),
        state: "0".to_owned(),
        created_at: T0,
        used_at: None,
        entry,
    };
    db.store.passkeys().add(&key, 9, event(Kind::PasskeyAdded)).await.unwrap();
}

/// How much there is of each under a hash: session, sign-in, token, passkey; and the link's entry.
async fn held(db: &Database, who: &str, entry: &str) -> (usize, String) {
    let hash = format!("{who}-{entry}");
    let sessions = db.store.sessions();
    let there = [
        sessions
            .find(&hash, at(0).minus(std::time::Duration::from_secs(1)), T0)
            .await
            .unwrap()
            .is_some(),
        sessions.find_sign_in(&hash, T0).await.unwrap().is_some(),
        db.store.settings().find_token(&hash, T0).await.unwrap().is_some(),
        db.store.passkeys().of(who).await.unwrap().iter().any(|key| key.id == hash),
    ];
    let link = db.store.review_links().find(&hash).await.unwrap().unwrap();
    (there.into_iter().filter(|there| *there).count(), link.entry)
}

fn people(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, entry)| ((*name).to_owned(), (*entry).to_owned())).collect()
}

const ONE_OF_EACH: Ended =
    Ended { sessions: 1, tokens: 1, sign_ins: 1, review_links: 1, passkeys: 1 };

#[tokio::test]
async fn only_what_was_made_under_the_entries_of_now_is_kept() {
    on_each(async |db: &Database| {
        hold(db, "ana", "1").await;
        hold(db, "ana", "2").await;
        hold(db, "ben", "1").await;
        hold(db, "guest:eve", "").await;
        let now = people(&[("ana", "2"), ("cy", "1")]);
        let keep =
            async || db.store.credentials().keep_only(&now, "guest:", true, at(1)).await.unwrap();

        let ended = keep().await;

        let expected = [("ana".to_owned(), ONE_OF_EACH), ("ben".to_owned(), ONE_OF_EACH)];
        assert_eq!(ended, expected);
        assert_eq!(held(db, "ana", "1").await, (0, String::new()));
        assert_eq!(held(db, "ana", "2").await, (4, "2".to_owned()));
        assert_eq!(held(db, "ben", "1").await, (0, String::new()));
        assert_eq!(held(db, "guest:eve", "").await.0, 4, "guests are kept while they may come");
        assert_eq!(db.store.credentials().holders().await.unwrap(), ["ana", "guest:eve"]);
        assert!(keep().await.is_empty(), "and nothing is told twice");

        let no_guests = db.store.credentials().keep_only(&now, "guest:", false, at(1)).await;
        assert_eq!(no_guests.unwrap().len(), 1);
        assert_eq!(held(db, "guest:eve", "").await.0, 0);
    })
    .await;
}

#[tokio::test]
async fn an_admin_ends_all_of_one_person_but_their_passkeys() {
    on_each(async |db: &Database| {
        hold(db, "ana", "1").await;
        hold(db, "ben", "1").await;

        let ended = db.store.credentials().end_all("ana", "root", at(1)).await.unwrap();

        assert_eq!(ended, Ended { passkeys: 0, ..ONE_OF_EACH });
        assert_eq!(held(db, "ana", "1").await, (1, String::new()));
        assert_eq!(held(db, "ben", "1").await, (4, "1".to_owned()));
        db.store.audit().seal(100).await.unwrap();
        let records = db.store.audit().list(0, 100).await.unwrap();
        let last = records.last().unwrap();
        assert_eq!((last.kind.as_str(), last.actor.as_str()), ("credentials_ended", "root"));
        assert!(last.data.contains("\"reviewer\":\"ana\""), "{}", last.data);
    })
    .await;
}
