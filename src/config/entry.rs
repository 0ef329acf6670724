//! What the configuration says of a person, as one value that changes when they are somebody else or
//! sign in otherwise. What they hold is bound to it.

use sha2::{Digest as _, Sha256};

use super::mail_address::canonical;
use super::{Config, Notifier, NotifierKind};
use crate::domain::call::hex;
use crate::domain::json;

impl Config {
    /// SHA-256, in hex, of what this reviewer's entry says of who they are, how they sign in and
    /// what they may: name, address, token, the provider's `sub`, role. Groups are no part of it:
    /// each use judges them anew. None where no reviewer has that name.
    pub fn entry_of(&self, name: &str) -> Option<String> {
        let reviewer = self.reviewer(name)?;
        let subjects = self.oidc.iter().flat_map(|oidc| &oidc.subjects);
        let mut parts = vec![
            reviewer.name.clone(),
            canonical(reviewer.email.as_deref().unwrap_or_default()),
            reviewer.token_sha256.map(|hash| hex(&hash)).unwrap_or_default(),
            reviewer.role.as_str().to_owned(),
        ];
        parts.extend(subjects.filter(|(_, who)| *who == name).map(|(subject, _)| subject.clone()));
        let quoted: Vec<String> = parts.iter().map(|part| json::quote(part)).collect();
        Some(hex(&Sha256::digest(quoted.join(","))))
    }

    /// Each reviewer's name and entry.
    pub fn entries(&self) -> Vec<(String, String)> {
        let entry = |name: &String| Some((name.clone(), self.entry_of(name)?));
        self.reviewers.iter().filter_map(|r| entry(&r.name)).collect()
    }
}

impl Notifier {
    /// SHA-256, in hex, of what the configuration says of where this channel leads and how it is let
    /// in there. It changes when the channel is another one.
    pub fn entry(&self) -> String {
        let parts = match &self.kind {
            NotifierKind::Email { smtp_url, from, .. } => {
                vec!["email", smtp_url.expose(), from.as_str()]
            }
            NotifierKind::Webhook { url, secret, .. } => {
                vec!["webhook", url.as_str(), secret.expose()]
            }
            NotifierKind::Memory => vec!["memory"],
        };
        let quoted: Vec<String> = parts.into_iter().map(json::quote).collect();
        hex(&Sha256::digest(quoted.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::config;

    fn entry(lines: &str) -> String {
        let text = format!("[[reviewers]]\nname = \"ana\"\n{lines}");
        config(&text).entry_of("ana").unwrap()
    }

    #[test]
    fn an_entry_changes_with_address_token_and_role_and_not_with_groups_or_case() {
        let plain = "email = \"ana@example.org\"\ntoken = \"aaaaaaaaaaaaaaaaaaaa\"\n";
        let first = entry(plain);

        assert_eq!(first.len(), 64);
        assert_eq!(first, entry(&format!("{plain}groups = [\"oncall\"]")));
        assert_eq!(first, entry(&plain.replace("ana@example", "Ana@Example")));
        for other in [
            plain.replace("ana@", "anna@"),
            plain.replace("aaaa\"", "aaab\""),
            format!("{plain}role = \"admin\""),
            plain.lines().next().unwrap().to_owned(),
        ] {
            assert_ne!(first, entry(&other), "{other}");
        }
        assert_eq!(config("").entry_of("ana"), None);
    }

    #[test]
    fn an_entry_changes_with_the_subject_by_which_the_provider_names_the_person() {
        let oidc = |subject: &str| {
            entry(&format!(
                "[oidc]\nissuer = \"https://login.example.org\"\nclient_id = \"p\"\n\
                 claim = \"sub\"\nsubjects = {{ ana = \"{subject}\" }}"
            ))
        };

        assert_eq!(oidc("1"), oidc("1"));
        assert_ne!(oidc("1"), oidc("2"));
    }
}
