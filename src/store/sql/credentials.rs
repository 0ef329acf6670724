//! What people hold, ended together.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::credentials::{CredentialStore, Ended};
use crate::store::driver::{Db, Lock, Tx, args};

use super::{SqlStore, audit};

/// How a kind of credential is found and ended.
struct Held {
    /// Takes what was made before entries were kept for the entry of now: a reviewer's, an entry.
    adopt: &'static str,
    /// Gives the rest of those an entry that nobody has.
    disown: &'static str,
    /// Who holds some, under which entries.
    holders: &'static str,
    /// Ends what one person holds under one entry.
    end: &'static str,
    /// Where it is counted; none: it is no credential.
    count: Option<fn(&mut Ended) -> &mut u64>,
}

macro_rules! held {
    ($table:literal, $end:literal, $only:literal, $count:expr) => {
        Held {
            adopt: concat!(
                "update ",
                $table,
                " set entry = $2 where reviewer = $1 and entry is null"
            ),
            disown: concat!("update ", $table, " set entry = 'none' where entry is null"),
            holders: concat!(
                "select reviewer, entry from ",
                $table,
                $only,
                " group by reviewer, entry"
            ),
            end: concat!($end, " where reviewer = $1 and entry = $2"),
            count: $count,
        }
    };
}

/// A review link stays, so that whoever follows it is told why it works no more. What the provider
/// said of somebody is no credential, and is forgotten with them.
const HELD: [Held; 6] = [
    held!("sessions", "delete from sessions", "", Some(|e| &mut e.sessions)),
    held!("tokens", "delete from tokens", "", Some(|e| &mut e.tokens)),
    held!("sign_ins", "delete from sign_ins", "", Some(|e| &mut e.sign_ins)),
    held!(
        "review_links",
        "update review_links set entry = ''",
        " where entry <> ''",
        Some(|e| &mut e.review_links)
    ),
    held!("passkeys", "delete from passkeys", "", Some(|e| &mut e.passkeys)),
    held!("oidc_words", "delete from oidc_words", "", None),
];

#[async_trait]
impl CredentialStore for SqlStore {
    async fn keep_only(
        &self,
        people: &[(String, String)],
        guest: &str,
        guests: bool,
        now: Timestamp,
    ) -> Result<Vec<(String, Ended)>> {
        let people: HashMap<String, String> = people.iter().cloned().collect();
        let guest = guests.then(|| guest.to_owned());
        self.run(move |db| keep_only(db, people.clone(), guest.clone(), now)).await
    }

    async fn end_all(&self, reviewer: &str, by: &str, now: Timestamp) -> Result<Ended> {
        let (reviewer, by) = (reviewer.to_owned(), by.to_owned());
        self.run(move |db| end_all(db, reviewer.clone(), by.clone(), now)).await
    }

    async fn holders(&self) -> Result<Vec<String>> {
        let rows = self
            .db
            .read()
            .await?
            .rows(
                "select reviewer from sessions union select reviewer from tokens order by reviewer",
                args![],
            )
            .await?;
        rows.iter().map(|row| row.text("reviewer")).collect()
    }
}

async fn keep_only(
    db: Db,
    people: HashMap<String, String>,
    guest: Option<String>,
    now: Timestamp,
) -> Result<Vec<(String, Ended)>> {
    let mut tx = db.begin_locked(Lock::Strangers).await?;
    let mut ended: BTreeMap<String, Ended> = BTreeMap::new();
    for held in &HELD {
        for (name, entry) in &people {
            tx.execute(held.adopt, args![name, entry]).await?;
        }
        tx.execute(held.disown, args![]).await?;
        for row in tx.rows(held.holders, args![]).await? {
            let (name, entry) = (row.text("reviewer")?, row.text("entry")?);
            let is_guest = guest.as_ref().is_some_and(|guest| name.starts_with(guest));
            if people.get(&name) == Some(&entry) || is_guest {
                continue;
            }
            let gone = tx.execute(held.end, args![&name, &entry]).await?;
            if let Some(count) = held.count {
                *count(ended.entry(name).or_default()) += gone;
            }
        }
    }
    let ended: Vec<(String, Ended)> = ended.into_iter().filter(|(_, e)| !e.is_nothing()).collect();
    for (name, what) in &ended {
        record(&mut tx, "placet", name, *what, now).await?;
    }
    tx.commit().await?;
    Ok(ended)
}

async fn end_all(db: Db, reviewer: String, by: String, now: Timestamp) -> Result<Ended> {
    let mut tx = db.begin().await?;
    let ended = Ended {
        sessions: tx.execute("delete from sessions where reviewer = $1", args![&reviewer]).await?,
        tokens: tx.execute("delete from tokens where reviewer = $1", args![&reviewer]).await?,
        sign_ins: tx
            .execute(
                "delete from sign_ins where reviewer = $1 and used_at is null",
                args![&reviewer],
            )
            .await?,
        review_links: tx
            .execute(
                "update review_links set entry = '' where reviewer = $1 and entry <> ''",
                args![&reviewer],
            )
            .await?,
        passkeys: 0,
    };
    record(&mut tx, &by, &reviewer, ended, now).await?;
    tx.commit().await?;
    Ok(ended)
}

async fn record(tx: &mut Tx, by: &str, whose: &str, ended: Ended, now: Timestamp) -> Result<()> {
    let event = AuditEvent::new(Kind::CredentialsEnded, by, now)
        .with("reviewer", whose)
        .with_raw("sessions", ended.sessions.to_string())
        .with_raw("tokens", ended.tokens.to_string())
        .with_raw("sign_in_links", ended.sign_ins.to_string())
        .with_raw("review_links", ended.review_links.to_string())
        .with_raw("passkeys", ended.passkeys.to_string());
    audit::insert(tx, &[event]).await
}
