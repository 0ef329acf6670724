//! Whose a reviewer's token is that came with a request, and whether it is for that.

use thiserror::Error;

use crate::auth::personal_token::{PREFIX, Scope};
use crate::auth::reviewer_by_token;
use crate::config::Reviewer;
use crate::domain::approval::Assurance;
use crate::id::token_hash;
use crate::store::StoreError;

use super::Broker;

/// Why a token does not do.
#[derive(Debug, Error)]
pub enum TokenRefused {
    /// It is nobody's.
    #[error("this token is no reviewer's")]
    Unknown,
    /// It was made for something else.
    #[error("this token was not made for that: it lacks the scope {:?}", .0.as_str())]
    Lacks(Scope),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Broker {
    /// The reviewer of a configured token, which may do everything they may, or of a personal one,
    /// which may do what it was made for and proves no more than the session that made it.
    ///
    /// # Errors
    /// It is nobody's, or not for that; or the store failed.
    pub async fn token_holder(
        &self,
        token: &str,
        scope: Scope,
    ) -> Result<(Reviewer, Assurance), TokenRefused> {
        if let Some(reviewer) = reviewer_by_token(self.config(), token) {
            let reviewer = self.reviewer(&reviewer.name).await?;
            return Ok((reviewer.ok_or(TokenRefused::Unknown)?, Assurance::Session));
        }
        if !token.starts_with(PREFIX) {
            return Err(TokenRefused::Unknown);
        }
        let found = self.store().settings().find_token(&token_hash(token), self.now()).await?;
        let token = found.ok_or(TokenRefused::Unknown)?;
        let reviewer = self.reviewer(&token.reviewer).await?.ok_or(TokenRefused::Unknown)?;
        if !token.scopes.iter().any(|s| s == scope.as_str()) {
            return Err(TokenRefused::Lacks(scope));
        }
        Ok((reviewer, token.assurance))
    }
}
