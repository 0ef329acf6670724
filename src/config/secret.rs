//! Secrets: given directly, by a variable of the environment, or by a file; never shown.

use sha2::{Digest as _, Sha256};

use super::reader::{self, Section, Show};
use super::{Secret, value};

/// Fewest characters of a token.
pub(super) const MIN_TOKEN: usize = 20;

/// The three keys of one secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecretKeys {
    /// The secret itself.
    pub plain: &'static str,
    /// The name of a variable that holds it.
    pub env: &'static str,
    /// The path of a file that holds it.
    pub file: &'static str,
}

/// `token`
pub(super) const TOKEN: SecretKeys =
    SecretKeys { plain: "token", env: "token_env", file: "token_file" };
/// `url` of the database
pub(super) const URL: SecretKeys = SecretKeys { plain: "url", env: "url_env", file: "url_file" };
/// `smtp_url`
pub(super) const SMTP_URL: SecretKeys =
    SecretKeys { plain: "smtp_url", env: "smtp_url_env", file: "smtp_url_file" };
/// `secret`
pub(super) const SECRET: SecretKeys =
    SecretKeys { plain: "secret", env: "secret_env", file: "secret_file" };

impl SecretKeys {
    fn all(self) -> [&'static str; 3] {
        [self.plain, self.env, self.file]
    }

    /// Those of its keys that are given, `more` among them.
    fn given(self, section: &Section<'_>, more: Option<&'static str>) -> Vec<&'static str> {
        self.all().into_iter().chain(more).filter(|key| section.is_given(key)).collect()
    }

    /// Whether any of its keys is given.
    pub(super) fn is_given(self, section: &Section<'_>) -> bool {
        !self.given(section, None).is_empty()
    }
}

/// Reads a secret, with the key that gave it. Two keys at once are a problem; no key is not.
pub(super) fn read(section: &Section<'_>, keys: SecretKeys) -> Option<(&'static str, String)> {
    let given = keys.given(section, None);
    if only_one(section, &given) {
        return None;
    }
    let key = given.first().copied().unwrap_or(keys.plain);
    value_of(section, keys, key).map(|text| (key, text))
}

/// The same for a secret that may be left out.
pub(super) fn read_optional(section: &Section<'_>, keys: SecretKeys) -> Option<Secret> {
    keys.is_given(section).then(|| read(section, keys)).flatten().map(|(_, text)| Secret::new(text))
}

/// Reads the SHA-256 of a token, given as 64 hex digits or computed from the token. That neither is
/// given is not a problem.
pub(super) fn read_token(section: &Section<'_>) -> Option<[u8; 32]> {
    let given = TOKEN.given(section, Some("token_sha256"));
    if only_one(section, &given) {
        return None;
    }
    match given.first().copied()? {
        key @ "token_sha256" => section.parsed(key, Show::Nothing, |text| {
            sha256(text).ok_or_else(|| {
                "expected 64 hex digits; `placet token new` prints a token with its token_sha256"
                    .to_owned()
            })
        }),
        key => {
            let token = value_of(section, TOKEN, key)?;
            if token.chars().count() < MIN_TOKEN || token.chars().any(char::is_whitespace) {
                let message = format!(
                    "a token has at least {MIN_TOKEN} characters and no space; `placet token new` \
                     makes one"
                );
                section.reader.error(section.at(key), message);
                return None;
            }
            Some(Sha256::digest(token.as_bytes()).into())
        }
    }
}

/// Notes an error where more than one key gives the same secret; the result says whether it did.
fn only_one(section: &Section<'_>, given: &[&'static str]) -> bool {
    if given.len() > 1 {
        let message = format!("{} give the same secret; keep one of them", given.join(" and "));
        section.reader.error(section.at(given[0]), message);
    }
    given.len() > 1
}

fn value_of(section: &Section<'_>, keys: SecretKeys, key: &'static str) -> Option<String> {
    let secret = if key == keys.env {
        section.parsed(key, Show::Nothing, |name| {
            if !value::is_variable(name) {
                return Err("expected the name of a variable of the environment".to_owned());
            }
            section
                .reader
                .variable(name)
                .map(str::to_owned)
                .ok_or_else(|| format!("the environment variable {name} is not set; set it"))
        })
    } else if key == keys.file {
        section.parsed(key, Show::Value, |path| {
            let text = reader::read_file(&section.reader.resolve(path))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        })
    } else {
        section.parsed(key, Show::Nothing, |text| Ok(text.to_owned()))
    }?;
    if secret.is_empty() {
        section.reader.error(section.at(key), "is empty");
        return None;
    }
    Some(secret)
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}
