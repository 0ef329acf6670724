//! Who may approve the calls of an agent under a rule, who of them can be reached, and how
//! surely a decision must come from them.

use url::{Host, Url};

use crate::domain::approval::{Assurance, Panel, Part};
use crate::domain::policy::Rule;

use super::{Agent, Config, NotifierKind, Reviewer, Role, oidc};

/// What a group's name begins with among a rule's reviewers.
pub const GROUP_PREFIX: &str = "group:";

/// Names of the reviewers who may approve `agent`'s calls under `rule`, in the order of the
/// configuration: those the rule names, or all where it names none; never an auditor, never the
/// agent's owner.
pub fn eligible(config: &Config, rule: &Rule, agent: &Agent) -> Vec<String> {
    let asked = |reviewer: &Reviewer| match (&rule.approval.panel, &rule.approval.reviewers) {
        (Some(panel), _) => panel.parts.iter().any(|(entry, _)| names(entry, reviewer)),
        (None, Some(asked)) => asked.iter().any(|entry| names(entry, reviewer)),
        (None, None) => true,
    };
    of(config, agent, asked)
}

/// The rule's joined reviewers, each part with who may approve for it; none where it has none.
pub fn panel(config: &Config, rule: &Rule, agent: &Agent) -> Option<Panel> {
    let asked = rule.approval.panel.as_ref()?;
    let part = |(entry, quorum): &(String, u32)| Part {
        name: entry.clone(),
        reviewers: of(config, agent, |reviewer| names(entry, reviewer)),
        quorum: *quorum,
    };
    Some(Panel { join: asked.join, parts: asked.parts.iter().map(part).collect() })
}

fn of(config: &Config, agent: &Agent, asked: impl Fn(&Reviewer) -> bool) -> Vec<String> {
    config
        .reviewers
        .iter()
        .filter(|reviewer| reviewer.role != Role::Auditor)
        .filter(|reviewer| agent.owner.as_deref() != Some(reviewer.name.as_str()))
        .filter(|reviewer| asked(reviewer))
        .map(|reviewer| reviewer.name.clone())
        .collect()
}

/// How surely decisions under a rule must come from the reviewer: as the rule says, or else as the
/// configuration does.
pub fn assurance(config: &Config, rule: &Rule) -> Assurance {
    rule.approval.assurance.unwrap_or(config.approvals.assurance)
}

/// The domain that passkeys are made for; none where browsers have none: without TLS except on
/// localhost, and where the host is no name.
pub fn passkey_domain(public_url: &Url) -> Option<&str> {
    let Some(Host::Domain(domain)) = public_url.host() else { return None };
    let local = domain == "localhost" || domain.ends_with(".localhost");
    (public_url.scheme() == "https" || local).then_some(domain)
}

/// Whether an entry of a rule's reviewers means this one.
pub fn names(entry: &str, reviewer: &Reviewer) -> bool {
    match entry.strip_prefix(GROUP_PREFIX) {
        Some(group) => reviewer.groups.iter().any(|g| g == group),
        None => reviewer.name == entry,
    }
}

/// Whether they have any way to decide: a token, an address that a link can be mailed to, the
/// sign-in provider, or the one-time link of the owner who stands in where no reviewer is configured.
pub fn can_sign_in(config: &Config, reviewer: &Reviewer) -> bool {
    config.implicit_owner
        || reviewer.token_sha256.is_some()
        || (reviewer.email.is_some() && config.mailer().is_some())
        || config.oidc.as_ref().is_some_and(|oidc| oidc::signs_in(oidc, reviewer))
}

/// Whether one of the rule's notifiers reaches this reviewer.
pub fn is_notified(config: &Config, rule: &Rule, reviewer: &Reviewer) -> bool {
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

    fn eligible_of(reviewers: Option<&[&str]>) -> Vec<String> {
        let config = config(PEOPLE);
        let mut rule = rule("/tools/x");
        rule.approval.reviewers = reviewers.map(|r| r.iter().map(ToString::to_string).collect());
        eligible(&config, &rule, config.agent("ci").unwrap())
    }

    #[test]
    fn without_reviewers_everyone_but_owner_and_auditors_is_eligible() {
        assert_eq!(eligible_of(None), ["ben", "dora"]);
    }

    #[test]
    fn names_and_groups_are_resolved_once_each() {
        assert_eq!(eligible_of(Some(&["ben", "group:oncall"])), ["ben"]);
        assert_eq!(eligible_of(Some(&["group:oncall", "dora"])), ["ben", "dora"]);
        assert!(eligible_of(Some(&["ana", "cleo", "oncall", "group:none"])).is_empty());
    }

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
