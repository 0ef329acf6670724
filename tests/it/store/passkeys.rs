//! Passkeys and their ceremonies, on every database.

use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::time::Timestamp;
use placet::store::Store as _;
use placet::store::passkeys::{Added, Ceremony, Passkey};

use crate::support::db::{Database, on_each};

const T0: Timestamp = Timestamp::from_micros(1_795_377_600_000_000);

fn at(second: u64) -> Timestamp {
    T0.plus(std::time::Duration::from_secs(second))
}

fn key(id: &str, reviewer: &str) -> Passkey {
    Passkey {
        id: id.to_owned(),
        reviewer: reviewer.to_owned(),
        name: "phone".to_owned(),
        handle: "h".to_owned(),
        public_key: "k".to_owned(),
        state: "0".to_owned(),
        created_at: T0,
        used_at: None,
        entry: "e".to_owned(),
    }
}

fn ceremony(challenge: &str, reviewer: &str, approval: Option<&str>) -> Ceremony {
    Ceremony {
        challenge: challenge.to_owned(),
        reviewer: reviewer.to_owned(),
        approval: approval.map(str::to_owned),
        digest: "d".to_owned(),
        state: "s".to_owned(),
        expires_at: at(120),
    }
}

fn event(kind: Kind, second: u64) -> AuditEvent {
    AuditEvent::new(kind, "ana", at(second))
}

#[tokio::test]
async fn a_ceremony_is_taken_once_by_who_began_it_in_time() {
    on_each(async |db: &Database| {
        let store = db.store.passkeys();
        for c in [
            ceremony("a", "ana", None),
            ceremony("b", "ana", Some("apr_1")),
            ceremony("c", "ben", Some("apr_1")),
            ceremony("d", "ana", Some("apr_2")),
        ] {
            store.begin(&c).await.unwrap();
        }
        let replaced = ceremony("e", "ana", Some("apr_1"));
        store.begin(&replaced).await.unwrap();
        let take = async |challenge: &str, reviewer: &str, second: u64| {
            store.take(challenge, reviewer, at(second)).await.unwrap()
        };

        assert_eq!(take("b", "ana", 1).await, None, "begun anew");
        assert_eq!(take("e", "ben", 1).await, None, "somebody else's");
        assert_eq!(take("e", "ana", 1).await, Some(replaced));
        assert_eq!(take("e", "ana", 1).await, None, "once");
        assert_eq!(take("a", "ana", 1).await.unwrap().approval, None);
        assert_eq!(take("d", "ana", 120).await, None, "too late");
        assert!(take("c", "ben", 119).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn of_those_who_take_a_ceremony_at_once_one_gets_it() {
    on_each(async |db: &Database| {
        db.store.passkeys().begin(&ceremony("a", "ana", None)).await.unwrap();
        let taken = (0..8).map(|_| async {
            db.store.passkeys().take("a", "ana", at(1)).await.unwrap().is_some()
        });
        let taken = futures_util::future::join_all(taken).await;

        assert_eq!(taken.iter().filter(|got| **got).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn passkeys_are_of_one_person_so_many_and_each_use_follows_the_last() {
    on_each(async |db: &Database| {
        let store = db.store.passkeys();
        let add =
            async |key: &Passkey| store.add(key, 2, event(Kind::PasskeyAdded, 0)).await.unwrap();

        assert_eq!(add(&key("1", "ana")).await, Added::Done);
        assert_eq!(add(&key("1", "ben")).await, Added::Known);
        assert_eq!(add(&key("2", "ana")).await, Added::Done);
        assert_eq!(add(&key("3", "ana")).await, Added::TooMany);
        assert_eq!(store.of("ana").await.unwrap().len(), 2);
        assert!(store.of("ben").await.unwrap().is_empty());

        let before = key("1", "ana");
        let used = event(Kind::PasskeyUsed, 5);
        assert!(store.used(&before, "1", used.clone()).await.unwrap());
        assert!(!store.used(&before, "2", used.clone()).await.unwrap(), "another use came first");
        let now = store.of("ana").await.unwrap().into_iter().find(|k| k.id == "1").unwrap();
        assert_eq!((now.state.as_str(), now.used_at), ("1", Some(at(5))));

        let gone = event(Kind::PasskeyRemoved, 6);
        assert!(!store.remove("ben", "1", gone.clone()).await.unwrap());
        assert!(store.remove("ana", "1", gone).await.unwrap());
        assert!(!store.used(&now, "2", used).await.unwrap(), "removed");
    })
    .await;
}
