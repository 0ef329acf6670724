//! `placet token new`: a token for an agent or a reviewer, and what the configuration keeps of it.

use serde_json::json;

use crate::id::{IdSource, OsIds, token_hash};

use super::{Global, say};

/// What Placet's own tokens begin with, so that scanners find leaked ones.
pub(crate) const PREFIX: &str = "plt_";

/// A token of 256 random bits.
pub(crate) fn random(ids: &dyn IdSource) -> String {
    format!("{PREFIX}{}", ids.token())
}

/// Prints a new token and its SHA-256.
pub(crate) fn new(global: &Global) {
    let token = random(&OsIds);
    let hash = token_hash(&token);
    if global.json {
        say(&json!({ "token": token, "token_sha256": hash }).to_string());
    } else {
        say(&format!("token = \"{token}\"\ntoken_sha256 = \"{hash}\""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn a_new_token_and_its_hash_are_the_same_principal() {
        let token = random(&OsIds);

        let of = |key: &str, value: &str| {
            config(&format!("[[agents]]\nname = \"a\"\n{key} = \"{value}\"")).agents[0].token_sha256
        };

        assert_eq!(token.len(), PREFIX.len() + 43);
        assert_eq!(of("token", &token), of("token_sha256", &token_hash(&token)));
    }
}
