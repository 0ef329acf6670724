//! What the rule asked for when the call came, and whether it is satisfied.

use serde::{Deserialize, Serialize};

use super::enums::{Assurance, Unattended};
use super::panel::{Join, Panel};
use crate::domain::absence::StandIn;
use crate::domain::reservation::Reservation;

/// The rule's terms, copied onto the approval when it is made, so that a later edit of the policy
/// does not change what its reviewers were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Names of the reviewers who may decide.
    pub reviewers: Vec<String>,
    /// How many approvals are needed; with a panel, the least number that can satisfy it.
    pub quorum: u32,
    /// The groups that decide together, where there are several; `reviewers` are all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panel: Option<Panel>,
    /// Who among `reviewers` is asked in the place of somebody who is away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stand_ins: Vec<StandIn>,
    /// How long an approved call waits for its agent, in seconds.
    pub claim_window_s: u64,
    /// How long a rejection is repeated to the identical call, in seconds.
    pub cooldown_s: u64,
    /// Names of the notifiers that tell the reviewers.
    pub notify: Vec<String>,
    /// What happens to the approved call when no request waits for it.
    pub unattended: Unattended,
    /// How surely a decision must come from the reviewer.
    pub assurance: Assurance,
    /// Only eligible reviewers, the owner, admins and auditors may see it.
    pub sensitive: bool,
    /// Further keys whose values are masked.
    pub redact: Vec<String>,
    /// Why its calls are of their class, where the tool's definition says so and not the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_why: Option<String>,
    /// Whether it may be approved without seeing what is masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked_ok: bool,
    /// The reviewer who owns the agent: sees and may reject, never approves.
    pub owner: Option<String>,
    /// Fingerprint of the tool's definition when the call came, in hex.
    pub tool_fingerprint: Option<String>,
    /// Fingerprint of the upstream's address when the call came, in hex; none if it was made before
    /// these were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_fingerprint: Option<String>,
    /// What its call took of counters; it is given back where the call surely has no effect.
    #[serde(default, skip_serializing_if = "Reservation::is_empty")]
    pub reserved: Reservation,
}

impl Terms {
    /// Whether approvals of these people are enough.
    pub fn are_met_by(&self, people: &[&str]) -> bool {
        self.missing(people) == 0
    }

    /// Whose seats these people take: their own, or, for a stand-in, that of one absent person
    /// whose seat is still free. A stand-in for whom no seat is free does not count.
    pub fn seats<'a>(&'a self, people: &[&'a str]) -> Vec<&'a str> {
        let mut taken: Vec<&str> = Vec::with_capacity(people.len());
        let stands_in = |person: &str| self.stand_ins.iter().any(|s| s.delegate == person);
        taken.extend(people.iter().filter(|p| !stands_in(p)));
        for person in people.iter().filter(|p| stands_in(p)) {
            let mut places = self.stand_ins.iter().filter(|s| s.delegate == **person);
            if let Some(place) = places.find(|s| !taken.contains(&s.of.as_str())) {
                taken.push(&place.of);
            }
        }
        taken
    }

    /// Approvals that are missing, at least, when these people approved.
    pub fn missing(&self, people: &[&str]) -> u32 {
        let people = &self.seats(people)[..];
        let Some(panel) = &self.panel else {
            let given = u32::try_from(people.len()).unwrap_or(u32::MAX);
            return self.quorum.max(1).saturating_sub(given);
        };
        let given = panel.given(people);
        let each = panel.parts.iter().zip(given).map(|(p, given)| p.quorum.saturating_sub(given));
        match panel.join {
            Join::All => each.sum(),
            Join::Any => each.min().unwrap_or(1),
        }
    }
}
