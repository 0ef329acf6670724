//! Signing in through an OpenID Connect provider: authorization code with PKCE, checked before
//! anything of it is believed. What the provider says names a person; what they may do stays with
//! the configuration ([`crate::broker::people::confirmed_roles`]).
//!
//! - [`attempt`] binds one attempt to one browser, without a row in the store.
//! - [`provider`] knows the provider: what is kept of it, the exchange of a code, userinfo.
//! - [`description`] is how it describes itself; [`fetch`] is the way to it: no redirects, a time
//!   limit, a limit of size.
//! - [`jws`] verifies what it signed; [`claims`] checks what an ID token says.
//! - [`person`] makes a reviewer of what was said.

pub(crate) mod attempt;
pub(crate) mod claims;
pub(crate) mod description;
pub(crate) mod fetch;
pub(crate) mod jws;
pub(crate) mod person;
pub(crate) mod provider;

/// The `via` of a session that began with the provider.
pub(crate) const VIA_OIDC: &str = "oidc";

/// What is needed to sign people in through the provider.
#[derive(Debug)]
pub struct Oidc {
    /// The configured provider.
    pub provider: provider::Provider,
    /// Seals attempts into cookies.
    pub sealer: attempt::Sealer,
}
