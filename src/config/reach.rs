//! How the configured people are reached: by what they sign in, and what tells them.

use url::{Host, Url};

use crate::domain::person::Person;
use crate::domain::policy::Rule;
use crate::domain::reviewers::Reviewers;

use super::{Agent, Config, NotifierKind, Reviewer, oidc};

impl Reviewer {
    /// The reviewer as rules see them.
    pub fn person(&self) -> Person<'_> {
        Person { name: &self.name, role: self.role, groups: &self.groups }
    }
}

impl Config {
    /// All configured reviewers as rules see them.
    pub fn people(&self) -> Vec<Person<'_>> {
        self.reviewers.iter().map(Reviewer::person).collect()
    }

    /// Who decides on this agent's calls under this rule.
    pub fn reviewers_of(&self, rule: &Rule, agent: &Agent) -> Reviewers {
        let assurance = self.approvals.assurance;
        Reviewers::of(&self.people(), &rule.approval, agent.owner.as_deref(), assurance)
    }
}

/// The domain that passkeys are made for. None where browsers offer no passkeys: without TLS except
/// on localhost, and where the host is an IP address.
pub(crate) fn passkey_domain(public_url: &Url) -> Option<&str> {
    let Some(Host::Domain(domain)) = public_url.host() else { return None };
    let local = domain == "localhost" || domain.ends_with(".localhost");
    (public_url.scheme() == "https" || local).then_some(domain)
}

/// Whether they have any way to decide: a token, an address that a link can be mailed to, the
/// sign-in provider, or the one-time link of the owner who stands in where no reviewer is
/// configured.
pub(crate) fn can_sign_in(config: &Config, reviewer: &Reviewer) -> bool {
    (config.implicit_owner && config.people.sign_in_link)
        || reviewer.token_sha256.is_some()
        || (reviewer.email.is_some() && config.mailer().is_some())
        || config.oidc.as_ref().is_some_and(|oidc| oidc::signs_in(oidc, reviewer))
}

/// Whether one of the rule's notifiers reaches this reviewer.
pub(crate) fn is_notified(config: &Config, rule: &Rule, reviewer: &Reviewer) -> bool {
    let chosen = rule.approval.notify.as_ref();
    config.notifiers.iter().filter(|n| chosen.is_none_or(|names| names.contains(&n.name))).any(
        |notifier| match &notifier.kind {
            NotifierKind::Email { to, .. } => reviewer.email.is_some() || !to.is_empty(),
            NotifierKind::Memory => reviewer.email.is_some(),
            NotifierKind::Webhook { .. } => true,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, rule};

    const PEOPLE: &str = r#"
        [[agents]]
        name = "ci"
        token = "aaaaaaaaaaaaaaaaaaaa"
        owner = "ana"
        [[reviewers]]
        name = "ana"
        groups = ["oncall"]
        token = "bbbbbbbbbbbbbbbbbbbb"
        [[reviewers]]
        name = "ben"
        groups = ["oncall"]
        token = "cccccccccccccccccccc"
        [[reviewers]]
        name = "cleo"
        role = "auditor"
        groups = ["oncall"]
        [[reviewers]]
        name = "dora"
        role = "admin"
        email = "dora@example.org"
    "#;

    #[test]
    fn an_address_is_a_way_to_sign_in_only_where_mail_is_sent() {
        let mail = "[[notifiers]]\nname = \"mail\"\nkind = \"email\"\n\
                    smtp_url = \"smtp://127.0.0.1:25\"\nfrom = \"a@example.org\"\n";
        let silent = config(PEOPLE);
        let mailing = config(&format!("{PEOPLE}{mail}"));
        let dora = silent.reviewer("dora").unwrap();
        let ben = silent.reviewer("ben").unwrap();

        assert!(!can_sign_in(&silent, dora));
        assert!(can_sign_in(&mailing, dora));
        assert!(can_sign_in(&silent, ben));
        assert!(is_notified(&mailing, &rule("/tools/x"), dora));
        assert!(!is_notified(&mailing, &rule("/tools/x"), ben));
        assert!(!is_notified(&silent, &rule("/tools/x"), dora));
    }
}
