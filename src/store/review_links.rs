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
    /// The reviewer it is bound to.
    pub reviewer: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The verbs about review links. As everywhere, one verb is one transaction.
#[async_trait]
pub trait ReviewLinkStore: Send + Sync {
    /// Stores a review link.
    async fn insert(&self, link: &ReviewLink) -> Result<()>;

    /// The review link of that hash.
    async fn find(&self, hash: &str) -> Result<Option<ReviewLink>>;
}
