//! What is masked of a value under a secret key: its secret part where it can be told apart, else
//! the whole.
//!
//! A reviewer can't judge what a mask hides. An address still shows its host and path, a header its
//! scheme; of a plain secret there is nothing to judge. What remains is masked blindly, and a page
//! asks for it to be shown before the call can be approved.

use super::{Masker, plain};

/// Endings of keys that name nothing but a secret, spelled as [`plain`] spells them.
const SECRET_ENDINGS: [&str; 10] =
    ["password", "passwd", "passphrase", "secret", "token", "bearer", "key", "pin", "otp", "cvv"];
/// Names of parameters that hold a secret inside addresses and connection strings, besides the
/// configured keys.
const SECRET_PARAMETERS: [&str; 14] = [
    "pwd",
    "pass",
    "sig",
    "signature",
    "key",
    "auth",
    "code",
    "jwt",
    "sas",
    "session",
    "sessionid",
    "accountkey",
    "xamzsignature",
    "xamzcredential",
];
/// The attributes of a cookie that are no secret
/// (<https://www.rfc-editor.org/rfc/rfc6265#section-4.1>).
const COOKIE_ATTRIBUTES: [&str; 7] =
    ["path", "domain", "expires", "maxage", "samesite", "secure", "httponly"];
/// Longest text with spaces that still is a plain secret, such as a passphrase; characters.
const LONGEST_PHRASE: usize = 128;
/// Longest text without spaces that still is a plain secret, such as a signed token; characters.
const LONGEST_TOKEN: usize = 4_096;

/// What stands in the place of a value under a secret key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Masked {
    /// Only its secret parts are masked; the rest can be read.
    Part(String),
    /// Masked whole, and nothing but a secret by its key.
    Secret(String),
    /// Of what is masked some may say more than a secret.
    Blind(String),
}

impl Masked {
    /// The text to show.
    pub(super) fn text(&self) -> &str {
        let (Self::Part(text) | Self::Secret(text) | Self::Blind(text)) = self;
        text
    }
}

impl Masker {
    /// What stands in the place of the value under the secret key `key`. `text` is the decoded
    /// string; none of any other value, whose JSON is `raw`.
    pub(super) fn masked(&self, key: &str, text: Option<&str>, raw: &str) -> Masked {
        let key = plain(key);
        let Some(text) = text else {
            let whole = self.mask_of(raw);
            // A number may be a PIN; a structure says more than a secret.
            let scalar = !raw.starts_with(['{', '[']);
            return if scalar && names_only_a_secret(&key) {
                Masked::Secret(whole)
            } else {
                Masked::Blind(whole)
            };
        };
        let mut shown = Shown { masker: self, blind: false };
        if let Some(part) = shown.parts_of(&key, text) {
            return if shown.blind { Masked::Blind(part) } else { Masked::Part(part) };
        }
        let whole = self.mask_of(text);
        if names_only_a_secret(&key) && is_plain_secret(text) {
            Masked::Secret(whole)
        } else {
            Masked::Blind(whole)
        }
    }
}

/// A value on its way to be shown in part.
struct Shown<'m> {
    masker: &'m Masker,
    /// Whether something was masked that may say more than a secret.
    blind: bool,
}

impl Shown<'_> {
    fn parts_of(&mut self, key: &str, text: &str) -> Option<String> {
        if text.chars().any(char::is_control) {
            return None;
        }
        if key.ends_with("cookie") {
            return self.cookie(text);
        }
        if let Some((scheme, rest)) = text.split_once("://")
            && !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && !rest.contains(char::is_whitespace)
        {
            return Some(format!("{scheme}://{}", self.address(rest)));
        }
        let pairs = |shown: &mut Self| shown.pairs(text).filter(|_| !names_only_a_secret(key));
        self.authorization(text).or_else(|| pairs(self))
    }

    /// What comes after `scheme://`: userinfo and the values of secret parameters are masked.
    fn address(&mut self, rest: &str) -> String {
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(r, f)| (r, Some(f)));
        let (place, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q)));
        let end = place.find(['/', '\\']).unwrap_or(place.len());
        let (host, path) = place.split_at(end);
        let mut out = match host.rsplit_once('@') {
            Some((user, host)) => format!("{}@{host}", self.masker.mask_of(user)),
            // Readers differ about an `@` further on: what stands before it may be a password.
            None if path.contains('@') => {
                self.blind = true;
                return self.masker.mask_of(rest);
            }
            None => host.to_owned(),
        };
        out.push_str(&self.no_keys_in(path));
        if let Some(query) = query {
            out.push('?');
            out.push_str(&self.parameters(query));
        }
        if let Some(fragment) = fragment {
            out.push('#');
            out.push_str(&if fragment.contains('=') {
                self.parameters(fragment)
            } else {
                self.no_keys_in(fragment)
            });
        }
        out
    }

    /// The text without what looks like a key. Such a piece may as well be a name.
    fn no_keys_in(&mut self, text: &str) -> String {
        let shown = self.masker.keys_in(text);
        self.blind |= shown != text;
        shown
    }

    fn parameters(&mut self, query: &str) -> String {
        let mut pairs = Vec::new();
        for pair in query.split('&') {
            pairs.push(match pair.split_once('=') {
                Some((name, value)) => format!("{name}={}", self.parameter(name, value)),
                None => self.no_keys_in(pair),
            });
        }
        pairs.join("&")
    }

    fn parameter(&mut self, name: &str, value: &str) -> String {
        // An escaped name is one that a reader may see as secret.
        let secret = name.contains('%') || self.is_secret_parameter(name);
        if value.is_empty() {
            String::new()
        } else if secret {
            self.masker.mask_of(value)
        } else {
            self.no_keys_in(value)
        }
    }

    fn is_secret_parameter(&self, name: &str) -> bool {
        let plain_name = plain(name);
        self.masker.is_secret(name, &[])
            || SECRET_PARAMETERS.contains(&plain_name.as_str())
            || names_only_a_secret(&plain_name)
    }

    /// The value of an `Authorization` header: the scheme is shown
    /// (<https://www.rfc-editor.org/rfc/rfc9110#section-11.4>).
    fn authorization(&self, text: &str) -> Option<String> {
        let (scheme, secret) = text.split_once(' ')?;
        let known = ["bearer", "basic", "digest", "token", "apikey", "negotiate", "hmac"];
        (known.contains(&plain(scheme).as_str()) && !secret.trim().is_empty())
            .then(|| format!("{scheme} {}", self.masker.mask_of(secret)))
    }

    /// A connection string of `name=value` pairs, separated by `;` or by spaces.
    fn pairs(&mut self, text: &str) -> Option<String> {
        let separator = if text.contains(';') { ';' } else { ' ' };
        let mut shown = Vec::new();
        let mut named = false;
        // A single `=` may as well stand in a secret.
        if text.split(separator).filter(|piece| piece.contains('=')).count() < 2 {
            return None;
        }
        for piece in text.split(separator) {
            if piece.trim().is_empty() {
                shown.push(piece.to_owned());
                continue;
            }
            let (name, value) = piece.split_once('=')?;
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.');
            // A quoted value may hold separators of its own.
            if name.trim().is_empty() || !name.chars().all(fits) || value.contains(['"', '\'', '{'])
            {
                return None;
            }
            named |= !self.is_secret_parameter(name.trim());
            shown.push(format!("{name}={}", self.parameter(name.trim(), value)));
        }
        // Where each name is a secret's, nothing else can be read of it.
        named.then(|| shown.join(&separator.to_string()))
    }

    fn cookie(&mut self, text: &str) -> Option<String> {
        let mut shown = Vec::new();
        for (i, piece) in text.split(';').enumerate() {
            let Some((name, value)) = piece.split_once('=') else {
                let flag = i > 0 && COOKIE_ATTRIBUTES.contains(&plain(piece.trim()).as_str());
                if !flag {
                    return None;
                }
                shown.push(piece.to_owned());
                continue;
            };
            let attribute = i > 0 && COOKIE_ATTRIBUTES.contains(&plain(name.trim()).as_str());
            let value = if attribute { value.to_owned() } else { self.masker.mask_of(value) };
            shown.push(format!("{name}={value}"));
        }
        Some(shown.join(";"))
    }
}

fn names_only_a_secret(plain_key: &str) -> bool {
    SECRET_ENDINGS.iter().any(|ending| plain_key.ends_with(ending))
}

/// Whether a text is of the kind that secrets are, so that nothing else can hide in it.
fn is_plain_secret(text: &str) -> bool {
    let length = text.chars().count();
    if text.trim_start().starts_with("-----BEGIN ") && text.trim_end().ends_with("-----") {
        return length <= LONGEST_TOKEN * 4;
    }
    if text.contains(char::is_whitespace) {
        return length <= LONGEST_PHRASE && !text.contains(['\n', '\r']);
    }
    length <= LONGEST_TOKEN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(key: &str, text: &str) -> Masked {
        let keys = ["password", "token", "api_key", "authorization", "connection_string", "cookie"];
        Masker::new(&keys.map(str::to_owned), b"k").masked(key, Some(text), "\"\"")
    }

    /// The text with every mask as `‹›`.
    fn part(key: &str, text: &str) -> String {
        let Masked::Part(shown) = masked(key, text) else {
            panic!("{text}: {:?}", masked(key, text))
        };
        let mut out = String::new();
        for (i, piece) in shown.split('‹').enumerate() {
            let rest = if i == 0 { piece } else { piece.split_once('›').unwrap().1 };
            out.push_str(if i == 0 { "" } else { "‹›" });
            out.push_str(rest);
        }
        out
    }

    #[test]
    fn of_addresses_only_userinfo_and_secret_parameters_are_masked() {
        for (text, shown) in [
            ("postgres://app:hunter2@db.prod:5432/main", "postgres://‹›@db.prod:5432/main"),
            ("https://x.example/a?token=S&page=2#t", "https://x.example/a?token=‹›&page=2#t"),
            ("https://x.example/a?x-amz-signature=abc", "https://x.example/a?x-amz-signature=‹›"),
            ("https://x.example/?tok%65n=S", "https://x.example/?tok%65n=‹›"),
            ("https://x.example/cb#access_token=S&n=1", "https://x.example/cb#access_token=‹›&n=1"),
            ("https://u@p@h/x", "https://‹›@h/x"),
        ] {
            assert_eq!(part("connection_string", text), shown, "{text}");
        }
    }

    #[test]
    fn of_connection_strings_headers_and_cookies_the_rest_can_be_read() {
        for (key, text, shown) in [
            ("connection_string", "host=db user=app password=x", "host=db user=app password=‹›"),
            ("connectionString", "Server=db;Database=m;Pwd=x;", "Server=db;Database=m;Pwd=‹›;"),
            ("authorization", "Bearer abc.def", "Bearer ‹›"),
            ("cookie", "sid=abc; theme=dark", "sid=‹›; theme=‹›"),
            ("set-cookie", "sid=abc; Path=/; Secure", "sid=‹›; Path=/; Secure"),
        ] {
            assert_eq!(part(key, text), shown, "{text}");
        }
    }

    #[test]
    fn a_plain_secret_hinders_nobody_and_whatever_else_is_masked_whole_is_blind() {
        fn secret(key: &str, text: &str) -> bool {
            matches!(masked(key, text), Masked::Secret(_))
        }

        assert!(secret("password", "hunter2"));
        assert!(secret("api_key", "sk-0123456789"));
        assert!(secret("api_key", "Zm9vYmFyYmF6cXV4cXV1eA=="));
        assert!(secret("password", "abc=hunter2") && secret("password", "a=b;c=d"));
        assert!(matches!(masked("connection_string", "opaque=1"), Masked::Blind(_)));
        assert!(secret("passphrase", "correct horse battery staple"));
        assert!(secret(
            "private_key",
            "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"
        ));
        assert!(!secret("connection_string", "opaque"));
        assert!(!secret("authorization", "opaque"));
        assert!(!secret("patient_name", "Ada"), "a rule's own key");
        assert!(!secret("token", "drop table a;\ndrop table b"), "a text in a secret's clothes");
        assert!(!secret("token", &"x".repeat(LONGEST_TOKEN + 1)));
        assert!(!secret("token", &"a b ".repeat(LONGEST_PHRASE)));
        let blind = |text| matches!(masked("connection_string", text), Masked::Blind(_));
        assert!(blind("https://h/x@y") && blind("https://h/drop/table-0123456789abcdef0123"));
    }

    #[test]
    fn a_structure_under_a_secret_key_is_blind_and_a_number_a_plain_secret() {
        let m = Masker::new(&["pin".into()], b"k");

        assert!(matches!(m.masked("pin", None, "1234"), Masked::Secret(_)));
        assert!(matches!(m.masked("pin", None, r#"{"host":"db"}"#), Masked::Blind(_)));
        assert!(matches!(m.masked("credentials", None, "7"), Masked::Blind(_)));
    }
}
