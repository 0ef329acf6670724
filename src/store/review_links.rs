//! Links that let one reviewer see and decide one approval.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// A review link's token, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewLink {
    /// SHA-256 of the token, hex.
    pub hash: String,
    /// The approval it is bound to.
    pub approval: ApprovalId,
    /// Name of the reviewer it is bound to.
    pub reviewer: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The entry of the configuration that it was made under, as of `Config::entry_of`; empty where
    /// it was ended, or is a guest's.
    pub entry: String,
}

/// The verbs about review links. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait ReviewLinkStore: Send + Sync {
    /// Stores a review link.
    async fn insert(&self, link: &ReviewLink) -> Result<()>;

    /// The review link whose token has that hash (SHA-256, hex).
    async fn find(&self, hash: &str) -> Result<Option<ReviewLink>>;
}
