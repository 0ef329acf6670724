//! Review links, by the hash of their token.

use async_trait::async_trait;

use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Db, args};
use crate::store::review_links::{ReviewLink, ReviewLinkStore};

use super::SqlStore;

#[async_trait]
impl ReviewLinkStore for SqlStore {
    async fn insert(&self, link: &ReviewLink) -> Result<()> {
        let link = link.clone();
        self.run(move |db| insert(db, link.clone())).await
    }

    async fn find(&self, hash: &str) -> Result<Option<ReviewLink>> {
        find(self.db.clone(), hash.to_owned()).await
    }
}

async fn insert(db: Db, link: ReviewLink) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into review_links (hash, approval, reviewer, created_at, entry) \
         values ($1, $2, $3, $4, $5)",
        args![&link.hash, link.approval.as_str(), &link.reviewer, link.created_at, &link.entry],
    )
    .await?;
    tx.commit().await
}

async fn find(db: Db, hash: String) -> Result<Option<ReviewLink>> {
    let row = db
        .read()
        .await?
        .row(
            "select hash, approval, reviewer, created_at, entry from review_links where hash = $1",
            args![hash],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Some(approval) = ApprovalId::parse(&row.text("approval")?) else { return Ok(None) };
    Ok(Some(ReviewLink {
        hash: row.text("hash")?,
        approval,
        reviewer: row.text("reviewer")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
        entry: row.opt_text("entry")?.unwrap_or_default(),
    }))
}
