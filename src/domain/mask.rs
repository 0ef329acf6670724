//! What people, mails and logs may see of a call's arguments.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::call::hex;
use super::json::{self, Node, Value, lenient};
use super::policy::pattern::{Pattern, is_glob};

mod target;
mod value;

use value::Masked;

/// Which values are masked, and the key that makes two different secrets look different.
#[derive(Debug, Clone)]
pub struct Masker {
    keys: Vec<String>,
    secret: Vec<u8>,
}

impl Masker {
    /// Masks values under `keys` (compared without case, `-` and `_`), digests keyed by `secret`.
    pub fn new(keys: &[String], secret: &[u8]) -> Self {
        Self { keys: keys.iter().map(|k| plain(k)).collect(), secret: secret.to_vec() }
    }

    /// Whether values under `key` are masked; `redact` are the rule's own keys and globs.
    pub fn is_secret(&self, key: &str, redact: &[String]) -> bool {
        self.hides(key, &Redact::read(redact))
    }

    fn hides(&self, key: &str, redact: &Redact) -> bool {
        let plain_key = plain(key);
        self.keys
            .iter()
            .any(|k| plain_key == *k || (k.len() >= 5 && plain_key.ends_with(k.as_str())))
            || redact.fits(key, &plain_key)
    }

    /// The JSON text with every secret value replaced by its mask; everything else as sent. What
    /// an upstream sent that is not quite JSON is made JSON first, and masked where it is too deep.
    pub fn mask(&self, raw: &str, redact: &[String]) -> String {
        let readable = lenient::readable(raw, &|deep| self.mask_of(deep));
        match readable.as_deref().map(json::parse) {
            Some(Ok(node)) => {
                let mut out = String::with_capacity(raw.len());
                self.write(&node, &Redact::read(redact), &mut out);
                out
            }
            // Not readable: nothing of it is shown.
            _ => json::quote(&self.mask_of(raw)),
        }
    }

    /// A keyed digest of a text, 64 hex digits: equal for equal texts, and it tells nothing of them.
    pub fn fingerprint(&self, text: &str) -> String {
        hex(&self.mac(text))
    }

    fn mac(&self, text: &str) -> [u8; 32] {
        // A key of any length is accepted by HMAC.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes any key");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// What stands in the place of a secret: `‹masked, N characters, 8 hex of a keyed digest›`. The
    /// digest is an HMAC with SHA-256.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc2104#section-2>
    pub fn mask_of(&self, value: &str) -> String {
        let digest = hex(&self.mac(value));
        format!("‹masked, {} characters, {}›", value.chars().count(), &digest[..8])
    }

    /// How many values of this JSON text are masked whole although they may say more than a secret:
    /// nobody can judge them unseen. A text that is not JSON counts as one.
    pub fn blind(&self, raw: &str, redact: &[String]) -> usize {
        json::parse(raw).map_or(1, |node| self.count_blind(&node, &Redact::read(redact)))
    }

    fn count_blind(&self, node: &Node<'_>, redact: &Redact) -> usize {
        match &node.value {
            Value::Object(members) => members
                .iter()
                .map(|member| {
                    if self.hides(&member.key, redact) {
                        let (text, raw) = (member.node.as_str(), member.node.raw);
                        usize::from(matches!(self.masked(&member.key, text, raw), Masked::Blind(_)))
                    } else {
                        self.count_blind(&member.node, redact)
                    }
                })
                .sum(),
            Value::Array(elements) => {
                elements.iter().map(|element| self.count_blind(element, redact)).sum()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    fn write(&self, node: &Node<'_>, redact: &Redact, out: &mut String) {
        match &node.value {
            Value::Object(members) => {
                out.push('{');
                for (i, member) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(member.raw_key);
                    out.push(':');
                    if self.hides(&member.key, redact) {
                        let (text, raw) = (member.node.as_str(), member.node.raw);
                        json::write_string(self.masked(&member.key, text, raw).text(), out);
                    } else {
                        self.write(&member.node, redact, out);
                    }
                }
                out.push('}');
            }
            Value::Array(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    self.write(element, redact, out);
                }
                out.push(']');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                out.push_str(node.raw);
            }
        }
    }
}

/// A rule's own secret keys, ready to compare.
#[derive(Debug, Default)]
struct Redact {
    names: Vec<String>,
    globs: Vec<Pattern>,
}

impl Redact {
    /// Reads the keys and globs of a rule. Policies with an invalid glob were refused before; here
    /// such a text masks at least the key of that very name.
    fn read(redact: &[String]) -> Self {
        let mut own = Self::default();
        for text in redact {
            own.names.push(plain(text));
            if is_glob(text) {
                own.globs.extend(Pattern::read(&text.to_lowercase()));
                // Keys are compared without `-` and `_`, but a range has a `-` of its own.
                if !text.contains('[') {
                    own.globs.extend(Pattern::read(&plain(text)));
                }
            }
        }
        own
    }

    fn fits(&self, key: &str, plain_key: &str) -> bool {
        self.names.iter().any(|name| name == plain_key)
            || self.globs.iter().any(|g| g.fits(plain_key) || g.fits(&key.to_lowercase()))
    }
}

fn plain(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker() -> Masker {
        Masker::new(&["password".into(), "api_key".into()], b"k")
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand_and_the_rest_stays_as_sent() {
        let masked =
            masker().mask(r#"{"n":1.00,"db":[{"Pass-Word":"hunter2","apiKey":"a"}]}"#, &[]);

        assert!(masked.starts_with(r#"{"n":1.00,"db":[{"Pass-Word":"‹masked, 7 characters, "#));
        assert!(!masked.contains("hunter2") && !masked.contains(":\"a\""));
    }

    #[test]
    fn different_secrets_look_different_and_rules_add_keys() {
        let m = masker();

        assert_ne!(m.mask_of("aaaa"), m.mask_of("bbbb"));
        assert!(m.mask(r#"{"ward":"7"}"#, &["ward".into()]).contains("masked, 1 characters"));
        assert!(m.mask(r#"{"ward":{"a":1}}"#, &["ward".into()]).contains("masked, 7 characters"));
    }
    #[test]
    fn rules_add_globs_that_fit_keys_in_any_case_and_dress() {
        let masks = |glob: &str, key: &str| {
            let hidden = masker().is_secret(key, &[glob.to_owned()]);
            let masked = masker().mask(&format!("{{\"{key}\":\"v\"}}"), &[glob.to_owned()]);
            assert_eq!(hidden, masked.contains("masked"), "{glob} {key}");
            hidden
        };

        assert!(masks("patient_*", "patient_name"));
        assert!(masks("patient_*", "patientName"));
        assert!(masks("Patient-*", "PATIENT_ID"));
        assert!(masks("*_key", "signing-key"));
        assert!(masks("line[0-9]", "line7"));
        assert!(!masks("line[0-9]", "lines"));
        assert!(!masks("patient_*", "impatient_note"));
        // What is no glob still masks its own name.
        assert!(masks("[x", "[x"));
    }
}
