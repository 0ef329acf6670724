//! The reviewer whose token came with a request, and whether the token is good for that request.

use thiserror::Error;

use crate::auth::personal_token::{PREFIX, Scope};
use crate::auth::reviewer_by_token;
use crate::config::Reviewer;
use crate::domain::approval::Assurance;
use crate::id::token_hash;
use crate::store::StoreError;

use crate::broker::Broker;

/// Why a token is refused.
#[derive(Debug, Error)]
pub enum TokenRefused {
    /// No reviewer has this token.
    #[error("this token is no reviewer's")]
    Unknown,
    /// It was made for something else: it lacks this scope.
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
    /// [`TokenRefused`]: nobody's, without the scope, or the store failed.
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
        if self.config().entry_of(&token.reviewer).as_ref() != Some(&token.entry) {
            return Err(TokenRefused::Unknown);
        }
        let reviewer = self.reviewer(&token.reviewer).await?.ok_or(TokenRefused::Unknown)?;
        if !token.scopes.iter().any(|s| s == scope.as_str()) {
            return Err(TokenRefused::Lacks(scope));
        }
        Ok((reviewer, token.assurance))
    }
}
