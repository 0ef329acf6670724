//! Tokens that people make for themselves, for programs that act for them.

/// What they begin with: secret scanners can find leaked ones, and only such tokens are looked up
/// in the store.
pub(crate) const PREFIX: &str = "plt_own_";

/// What a personal token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Read what its owner may read.
    Read,
    /// Approve and reject.
    Decide,
    /// Withdraw, settle and revoke.
    Manage,
}

impl Scope {
    /// The word in the store, the API and the pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decide => "decide",
            Self::Manage => "manage",
        }
    }
}
