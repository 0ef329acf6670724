//! What the claims of the sign-in provider do to people's rights: they confirm groups and roles
//! that the configuration gives, and never give any. A group or role that needs a confirmation
//! counts as not given while there is none, or it has run out. That holds for a person by whatever
//! session, token or link they come, since it is kept with the person.
//!
//! Whom to ask and tell the configuration alone says: people whose confirmation has run out learn
//! of a call, sign in, and may then approve it.

use std::borrow::Cow;

use crate::config::{Config, Reviewer, Role};
use crate::domain::approval::{Approval, Refusal};
use crate::domain::policy::{Action, Verdict};
use crate::store::StoreError;
use crate::store::oidc::ProviderClaims;

use crate::broker::{Broker, DecideError};

/// The configuration with its reviewers' groups and roles as far as `words` confirm what must be
/// confirmed; the words count.
pub(crate) fn narrowed<'c>(config: &'c Config, words: &[ProviderClaims]) -> Cow<'c, Config> {
    let Some(oidc) = config.oidc.as_ref().filter(|oidc| oidc.narrows()) else {
        return Cow::Borrowed(config);
    };
    let mut narrow = config.clone();
    for reviewer in &mut narrow.reviewers {
        // What another provider said, before this one was configured, is not this one's word; and
        // what was said of somebody else who had this name is not said of them.
        let entry = config.entry_of(&reviewer.name);
        let theirs = |w: &&ProviderClaims| Some(&w.entry) == entry.as_ref();
        let mut words = words.iter().filter(|w| w.reviewer == reviewer.name && theirs(w));
        let word = words.find(|w| w.issuer == oidc.issuer);
        let said = word.map_or(&[][..], |word| &word.groups);
        let any = |groups: &[String]| groups.iter().any(|group| said.contains(group));
        reviewer.groups.retain(|group| oidc.groups.get(group).is_none_or(|list| any(list)));
        if reviewer.role == Role::Admin && !oidc.admin_groups.is_empty() && !any(&oidc.admin_groups)
        {
            reviewer.role = Role::Reviewer;
        }
    }
    Cow::Owned(narrow)
}

impl Broker {
    /// The configuration as far as the provider's words confirm it now.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn confirmed(&self) -> Result<Cow<'_, Config>, StoreError> {
        let config: &Config = self.config();
        if !config.oidc.as_ref().is_some_and(crate::config::oidc::Oidc::narrows) {
            return Ok(Cow::Borrowed(config));
        }
        Ok(narrowed(config, &self.store().oidc().claims(self.now()).await?))
    }

    /// The reviewer of that name with the groups and the role that count now.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn reviewer(&self, name: &str) -> Result<Option<Reviewer>, StoreError> {
        if self.config().reviewer(name).is_none() {
            return Ok(None);
        }
        Ok(self.confirmed().await?.reviewer(name).cloned())
    }

    /// Refuses the approval of somebody who was asked as one of a group that is not confirmed.
    ///
    /// # Errors
    /// [`DecideError::Refused`], when the group is not confirmed; [`DecideError::Store`], when the
    /// store can't be read.
    pub(in crate::broker) async fn check_confirmed(
        &self,
        approval: &Approval,
        name: &str,
    ) -> Result<(), DecideError> {
        let confirmed = self.confirmed().await?;
        if matches!(confirmed, Cow::Owned(_))
            && self.counts(self.config(), approval, name) == Some(true)
            && self.counts(&confirmed, approval, name) == Some(false)
        {
            let approval = Box::new(approval.clone());
            return Err(DecideError::Refused { refusal: Refusal::Unconfirmed, approval });
        }
        Ok(())
    }

    /// Whether this person's approval would count under the rule in force; none where no rule asks
    /// for approvals.
    fn counts(&self, config: &Config, approval: &Approval, name: &str) -> Option<bool> {
        let agent = config.agent(&approval.agent)?;
        let policy = self.policies().of(&approval.call.upstream)?;
        let Ok(Verdict::Ruled { action: Action::RequireApproval, rule, .. }) =
            self.judge(&policy, &approval.agent, &approval.call)
        else {
            return None;
        };
        let asked = config.reviewers_of(rule, agent);
        let stand_ins = asked.still_standing(&config.people(), &approval.terms.stand_ins);
        Some(asked.counts(name, &stand_ins))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use crate::domain::time::Timestamp;

    const PEOPLE: &str = r#"
        [[reviewers]]
        name = "ana"
        email = "ana@example.org"
        role = "admin"
        groups = ["oncall", "desk"]
        [[reviewers]]
        name = "ben"
        email = "ben@example.org"
        groups = ["oncall"]
        [oidc]
        issuer = "https://login.example.org"
        client_id = "placet"
    "#;

    fn word(reviewer: &str, groups: &[&str]) -> ProviderClaims {
        ProviderClaims {
            reviewer: reviewer.to_owned(),
            issuer: "https://login.example.org".to_owned(),
            subject: "s".to_owned(),
            groups: groups.iter().map(ToString::to_string).collect(),
            said_at: Timestamp::from_micros(0),
            expires_at: Timestamp::from_micros(1),
            entry: config(PEOPLE).entry_of(reviewer).unwrap(),
        }
    }

    fn standing(more: &str, words: &[ProviderClaims], name: &str) -> (Vec<String>, Role) {
        let config = config(&format!("{PEOPLE}{more}"));
        let narrow = narrowed(&config, words);
        let reviewer = narrow.reviewer(name).unwrap();
        (reviewer.groups.clone(), reviewer.role)
    }

    #[test]
    fn without_a_mapping_the_configuration_alone_counts() {
        let (groups, role) = standing("", &[], "ana");

        assert_eq!((groups.len(), role), (2, Role::Admin));
    }

    #[test]
    fn a_mapped_group_counts_while_the_provider_says_so_and_others_always() {
        let mapped = "groups = { oncall = [\"sre\", \"sre-lead\"] }\n";

        assert_eq!(standing(mapped, &[], "ana").0, ["desk"]);
        assert_eq!(standing(mapped, &[word("ana", &["sre-lead"])], "ana").0, ["oncall", "desk"]);
        assert_eq!(standing(mapped, &[word("ana", &["staff"])], "ana").0, ["desk"]);
        assert_eq!(standing(mapped, &[word("ben", &["sre"])], "ana").0, ["desk"], "another's");
        let elsewhere =
            ProviderClaims { issuer: "https://other.example".to_owned(), ..word("ana", &["sre"]) };
        assert_eq!(standing(mapped, &[elsewhere], "ana").0, ["desk"]);
        let before = ProviderClaims { entry: "another".to_owned(), ..word("ana", &["sre"]) };
        assert_eq!(
            standing(mapped, &[before], "ana").0,
            ["desk"],
            "said of who had the name before"
        );
    }

    #[test]
    fn the_provider_gives_nobody_what_the_configuration_does_not() {
        let mapped = "groups = { desk = [\"desk\"] }\nadmin_groups = [\"root\"]\n";

        let (groups, role) = standing(mapped, &[word("ben", &["desk", "root"])], "ben");

        assert_eq!((groups, role), (vec!["oncall".to_owned()], Role::Reviewer));
    }

    #[test]
    fn an_admin_manages_while_the_provider_says_so() {
        let mapped = "admin_groups = [\"root\"]\n";

        assert_eq!(standing(mapped, &[], "ana").1, Role::Reviewer);
        assert_eq!(standing(mapped, &[word("ana", &["root"])], "ana").1, Role::Admin);
    }
}
