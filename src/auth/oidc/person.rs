//! Who somebody is, by what the provider says of them.

use crate::config::mail_address::canonical;
use crate::config::oidc::{Identify, Oidc};
use crate::config::value::GUEST;
use crate::config::{Config, Reviewer};

/// Longest name of a guest, bytes.
const MAX_GUEST: usize = 200;

/// What a provider said of a person, after every check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The provider's lasting identifier for them (`sub`).
    pub subject: String,
    /// Their e-mail address.
    pub email: Option<String>,
    /// Whether the provider says that it has verified the address.
    pub email_verified: bool,
    /// The provider's groups they are in; none: it says nothing of groups.
    pub groups: Option<Vec<String>>,
}

/// Why somebody is not a reviewer here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// The provider does not say that it has verified the address.
    Unverified,
    /// The provider says no address.
    NoEmail,
    /// No reviewer is configured with this address or subject.
    Unknown,
}

impl Stranger {
    /// The word for it in the audit record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unverified => "email_not_verified",
            Self::NoEmail => "no_email",
            Self::Unknown => "unknown_person",
        }
    }
}

/// The reviewer whom the provider's words name.
///
/// # Errors
/// [`Stranger`] says why they name none.
pub(crate) fn reviewer<'c>(
    config: &'c Config,
    oidc: &Oidc,
    said: &Identity,
) -> Result<&'c Reviewer, Stranger> {
    match oidc.identify {
        Identify::Subject => oidc
            .subjects
            .get(&said.subject)
            .and_then(|name| config.reviewer(name))
            .ok_or(Stranger::Unknown),
        Identify::Email => {
            let address = said.email.as_ref().ok_or(Stranger::NoEmail)?;
            if !said.email_verified {
                return Err(Stranger::Unverified);
            }
            // Letters that only look alike in another case belong to other people's addresses.
            let same = |r: &&Reviewer| {
                r.email.as_ref().is_some_and(|e| canonical(e) == canonical(address))
            };
            config.reviewers.iter().find(same).ok_or(Stranger::Unknown)
        }
    }
}

/// The name of a guest, who is not a reviewer but may read; none if it is not plain ASCII or is too
/// long. No reviewer can have such a name.
pub(crate) fn guest(said: &Identity) -> Option<String> {
    let verified = said.email.as_ref().filter(|_| said.email_verified);
    let name = verified.unwrap_or(&said.subject);
    let plain = name.bytes().all(|b| b.is_ascii_graphic());
    (plain && !name.is_empty() && name.len() <= MAX_GUEST).then(|| format!("{GUEST}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const PEOPLE: &str = "[[reviewers]]\nname = \"ana\"\nemail = \"Ana@Example.org\"\n\
                          [[reviewers]]\nname = \"ben\"\ntoken = \"bbbbbbbbbbbbbbbbbbbb\"\n\
                          [oidc]\nissuer = \"https://a.example\"\nclient_id = \"x\"\n";

    fn found(more: &str, said: &Identity) -> Result<String, Stranger> {
        let config = config(&format!("{PEOPLE}{more}"));
        reviewer(&config, config.oidc.as_ref().unwrap(), said).map(|r| r.name.clone())
    }

    fn said(email: &str, verified: bool) -> Identity {
        Identity {
            subject: "s1".to_owned(),
            email: (!email.is_empty()).then(|| email.to_owned()),
            email_verified: verified,
            groups: None,
        }
    }

    #[test]
    fn a_verified_address_names_a_reviewer_and_nothing_else_does() {
        assert_eq!(found("", &said("ana@example.ORG", true)), Ok("ana".to_owned()));
        assert_eq!(found("", &said("ana@example.org", false)), Err(Stranger::Unverified));
        assert_eq!(found("", &said("", true)), Err(Stranger::NoEmail));
        assert_eq!(found("", &said("eve@example.org", true)), Err(Stranger::Unknown));
        assert_eq!(found("", &said("ana@example.org.evil.example", true)), Err(Stranger::Unknown));
        // The Kelvin sign, which becomes a k in lower case.
        let kelvin = said("\u{212a}im@example.org", true);
        let kim = "[[reviewers]]\nname = \"kim\"\nemail = \"kim@example.org\"\n";
        assert_eq!(found(kim, &kelvin), Err(Stranger::Unknown));
    }

    #[test]
    fn by_sub_the_address_says_nothing() {
        let by_sub = "claim = \"sub\"\nsubjects = { ben = \"s1\" }\n";

        assert_eq!(found(by_sub, &said("ana@example.org", true)), Ok("ben".to_owned()));
        let other = Identity { subject: "S1".to_owned(), ..said("ana@example.org", true) };
        assert_eq!(found(by_sub, &other), Err(Stranger::Unknown));
    }

    #[test]
    fn a_guests_name_is_plain_and_no_reviewers() {
        let named = |email: &str, verified, subject: &str| {
            guest(&Identity { subject: subject.to_owned(), ..said(email, verified) })
        };

        assert_eq!(named("eve@a.example", true, "s1").as_deref(), Some("guest:eve@a.example"));
        assert_eq!(named("eve@a.example", false, "s1").as_deref(), Some("guest:s1"));
        assert_eq!(named("e\u{202e}ve@a.example", true, "s1"), None);
        assert_eq!(named("", true, ""), None);
        assert_eq!(named("", true, &"x".repeat(MAX_GUEST + 1)), None);
    }
}
