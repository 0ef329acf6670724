//! What people do: sign in, decide, say what they want to be told, and who may do which of it.

pub(crate) mod confirmed_roles;
pub mod decide;
pub(crate) mod passkey;
pub(crate) mod plan;
pub(crate) mod provider_sign_in;
pub(crate) mod review_link;
pub mod rights;
pub(crate) mod seen_settings;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod token_holder;
