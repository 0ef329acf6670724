//! Channels that were disabled by their other side.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::channels::{ChannelStore, DisabledChannel};
use crate::store::driver::{Db, args};

use super::{SqlStore, audit};

#[async_trait]
impl ChannelStore for SqlStore {
    async fn disabled(&self) -> Result<Vec<DisabledChannel>> {
        let sql = "select notifier, entry, disabled_at, detail from channels order by notifier";
        let rows = self.db.read().await?.rows(sql, args![]).await?;
        rows.iter()
            .map(|row| {
                Ok(DisabledChannel {
                    notifier: row.text("notifier")?,
                    entry: row.text("entry")?,
                    at: Timestamp::from_micros(row.int("disabled_at")?),
                    detail: row.text("detail")?,
                })
            })
            .collect()
    }

    async fn disable(&self, channel: &DisabledChannel, event: AuditEvent) -> Result<()> {
        let channel = channel.clone();
        self.run(move |db| disable(db, channel.clone(), event.clone())).await
    }

    async fn enable(&self, notifier: &str, event: AuditEvent) -> Result<bool> {
        let notifier = notifier.to_owned();
        self.run(move |db| enable(db, notifier.clone(), event.clone())).await
    }
}

async fn disable(db: Db, channel: DisabledChannel, event: AuditEvent) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into channels (notifier, entry, disabled_at, detail) values ($1, $2, $3, $4) \
         on conflict (notifier) do update set entry = excluded.entry, \
            disabled_at = excluded.disabled_at, detail = excluded.detail",
        args![&channel.notifier, &channel.entry, channel.at, &channel.detail],
    )
    .await?;
    audit::insert(&mut tx, &[event]).await?;
    tx.commit().await
}

async fn enable(db: Db, notifier: String, event: AuditEvent) -> Result<bool> {
    let mut tx = db.begin().await?;
    let gone = tx.execute("delete from channels where notifier = $1", args![&notifier]).await? > 0;
    if gone {
        audit::insert(&mut tx, &[event]).await?;
    }
    tx.commit().await?;
    Ok(gone)
}
