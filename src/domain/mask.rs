//! What people, mails and logs may see of a call's arguments.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::call::hex;
use super::json::{self, Node, Value};

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

    /// Whether values under `key` are masked; `redact` are the rule's own keys.
    pub fn is_secret(&self, key: &str, redact: &[String]) -> bool {
        let key = plain(key);
        self.keys.iter().any(|k| key == *k || (k.len() >= 5 && key.ends_with(k.as_str())))
            || redact.iter().any(|r| plain(r) == key)
    }

    /// The JSON text with every secret value replaced by its mask; everything else as sent.
    pub fn mask(&self, raw: &str, redact: &[String]) -> String {
        match json::parse(raw) {
            Ok(node) => {
                let mut out = String::with_capacity(raw.len());
                self.write(&node, redact, &mut out);
                out
            }
            // Not readable: nothing of it is shown.
            Err(_) => json::quote(&self.mask_of(raw)),
        }
    }

    /// `‹masked, N characters, 8 hex of a keyed digest›`
    pub fn mask_of(&self, value: &str) -> String {
        // A key of any length is accepted by HMAC.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes any key");
        mac.update(value.as_bytes());
        let digest = hex(&mac.finalize().into_bytes());
        format!("‹masked, {} characters, {}›", value.chars().count(), &digest[..8])
    }

    fn write(&self, node: &Node<'_>, redact: &[String], out: &mut String) {
        match &node.value {
            Value::Object(members) => {
                out.push('{');
                for (i, member) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(member.raw_key);
                    out.push(':');
                    if self.is_secret(&member.key, redact) {
                        let value = member.node.as_str().unwrap_or(member.node.raw);
                        json::write_string(&self.mask_of(value), out);
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
}
