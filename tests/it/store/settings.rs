//! Personal tokens, sessions, absences and wishes.

use placet::domain::absence::{Absence, Clash};
use placet::domain::approval::Assurance;
use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::preferences::{Preferences, Quiet};
use placet::store::settings::{NotEntered, PersonalToken};
use placet::store::{LimitKey, Session, Store as _};

use crate::support::approvals::{T0, at, old};
use crate::support::db::{Database, on_each};

fn event(kind: Kind) -> AuditEvent {
    AuditEvent::new(kind, "ben", at(1))
}

fn token(id: &str, reviewer: &str, expires: u64) -> PersonalToken {
    PersonalToken {
        id: id.to_owned(),
        reviewer: reviewer.to_owned(),
        name: "ci".to_owned(),
        scopes: vec!["read".to_owned(), "decide".to_owned()],
        assurance: Assurance::Session,
        created_at: at(1),
        expires_at: at(expires),
        used_at: None,
        entry: "e".to_owned(),
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_hash_until_it_ends_or_is_revoked_by_its_owner() {
    on_each(async |db: &Database| {
        let people = db.store.settings();
        let add = async |id: &str, who: &str| {
            let made = event(Kind::TokenMade);
            people.insert_token(&format!("h-{id}"), &token(id, who, 100), 2, made).await.unwrap()
        };
        assert!(add("a", "ben").await && add("b", "ben").await);
        assert!(!add("c", "ben").await, "two are enough");
        assert!(add("d", "dora").await);

        let found = people.find_token("h-a", at(50)).await.unwrap();
        assert_eq!(found, Some(token("a", "ben", 100)));
        assert_eq!(people.find_token("h-a", at(60)).await.unwrap().unwrap().used_at, Some(at(50)));
        assert_eq!(people.find_token("h-a", at(100)).await.unwrap(), None);
        assert_eq!(people.find_token("a", at(50)).await.unwrap(), None);
        let revoke = async |who: &str| {
            people.delete_token(who, "a", event(Kind::TokenRevoked)).await.unwrap()
        };
        assert!(!revoke("dora").await);
        assert!(revoke("ben").await && !revoke("ben").await);
        assert_eq!(people.tokens("ben", at(50)).await.unwrap().len(), 1);
        assert_eq!(db.store.purge(at(100), old(T0)).await.unwrap(), 2);
        assert_eq!(db.store.audit().unsealed().await.unwrap(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_person_ends_their_own_sessions_only() {
    on_each(async |db: &Database| {
        let hash = "0123456789abcdef01234567-and-more";
        let session = Session {
            hash: hash.to_owned(),
            reviewer: "ben".to_owned(),
            via: "token".to_owned(),
            client: Some("Browser/1".to_owned()),
            created_at: at(1),
            seen_at: at(1),
            entry: String::new(),
        };
        db.store.sessions().insert(&session).await.unwrap();
        let sessions = db.store.sessions();
        let end = async |who: &str, handle: &str| {
            sessions.end(who, handle, event(Kind::SessionEnded)).await.unwrap()
        };

        assert_eq!(sessions.of("ben", T0).await.unwrap(), [session]);
        assert!(sessions.of("ben", at(1)).await.unwrap().is_empty(), "idle");
        assert!(!end("dora", &hash[..24]).await && !end("ben", "").await && !end("ben", "%").await);
        assert!(end("ben", &hash[..24]).await);
        assert!(db.store.sessions().find(hash, T0, at(2)).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn absences_that_do_not_fit_are_refused_where_they_are_stored() {
    on_each(async |db: &Database| {
        let people = db.store.settings();
        let enter = async |who: &str, delegate: &str, from: u64, until: u64| {
            let absence = Absence {
                id: format!("abs_{who}_{from}"),
                reviewer: who.to_owned(),
                delegate: delegate.to_owned(),
                from: at(from),
                until: at(until),
            };
            people.insert_absence(&absence, 2, event(Kind::AbsenceEntered)).await.unwrap()
        };

        assert_eq!(enter("ben", "dora", 10, 20).await, Ok(()));
        assert_eq!(enter("dora", "ben", 15, 30).await, Err(NotEntered::Clash(Clash::Loop)));
        assert_eq!(enter("dora", "ben", 20, 30).await, Ok(()));
        assert_eq!(enter("ben", "root", 20, 30).await, Ok(()));
        assert_eq!(enter("ben", "root", 40, 50).await, Err(NotEntered::TooMany));
        assert_eq!(people.absences(at(20)).await.unwrap().len(), 2, "what is over is not listed");
        let remove = async |who: &str| {
            let id = "abs_ben_20";
            people.delete_absence(who, id, event(Kind::AbsenceRemoved)).await.unwrap()
        };
        assert!(!remove("dora").await && remove("ben").await && !remove("ben").await);
    })
    .await;
}

#[tokio::test]
async fn wishes_are_one_per_person() {
    on_each(async |db: &Database| {
        let people = db.store.settings();
        let quiet = Quiet { from: 1_320, to: 420, offset: -180 };
        let first = Preferences { reminders: false, decisions: true, quiet: Some(quiet) };
        people.set_preferences("ben", &first).await.unwrap();
        people.set_preferences("dora", &Preferences::default()).await.unwrap();
        let second = Preferences { quiet: None, ..first.clone() };
        assert!(people.preferences().await.unwrap().contains(&("ben".to_owned(), first)));

        people.set_preferences("ben", &second).await.unwrap();

        let all = people.preferences().await.unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.contains(&("ben".to_owned(), second)));
    })
    .await;
}

#[tokio::test]
async fn the_use_that_was_counted_last_is_taken_back() {
    on_each(async |db: &Database| {
        let take = async |second: u64| {
            db.store
                .limits()
                .take(&LimitKey::Seal("k".to_owned()), 2, T0, at(second))
                .await
                .unwrap()
                .is_none()
        };
        assert!(take(1).await && take(2).await && !take(3).await);

        db.store.limits().give_back(&LimitKey::Seal("k".to_owned())).await.unwrap();
        db.store.limits().give_back(&LimitKey::Seal("another".to_owned())).await.unwrap();

        assert!(take(4).await && !take(5).await);
    })
    .await;
}
