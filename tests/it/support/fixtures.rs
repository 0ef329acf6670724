//! What the tests inside the library and those outside it begin with: a configuration as a user
//! writes it, and an approval. The library's own tests include this file, too.

use std::path::Path;
use std::time::Duration;

use placet::config::{Config, Environment};
use placet::domain::approval::{Approval, ApprovalId, Assurance, State, Terms, Unattended};
use placet::domain::call::ToolCall;
use placet::domain::reservation::Reservation;
use placet::domain::time::Timestamp;

/// The configuration that this text gives, read by the program's own reader as if it stood in that
/// file, with these variables set.
pub(crate) fn config_of(text: &str, file: Option<&Path>, environment: &Environment) -> Config {
    Config::read(text, file, environment).map_or_else(
        |problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"))
        },
        |(config, _)| config,
    )
}

/// A pending approval of a call with these `params` by agent `ci`, made now. Any one of these
/// reviewers may decide for a quarter of an hour.
pub(crate) fn pending(
    id: ApprovalId,
    params: &str,
    reviewers: &[&str],
    now: Timestamp,
) -> Approval {
    Approval {
        id,
        version: 0,
        state: State::Pending,
        call: ToolCall::read("images", params).unwrap(),
        agent: "ci".to_owned(),
        client: Some("ci/1.0".to_owned()),
        rule: "/tools/delete_image_set".to_owned(),
        reason: Some("It cannot be undone.".to_owned()),
        risk: None,
        severity: None,
        terms: Terms {
            reviewers: reviewers.iter().map(ToString::to_string).collect(),
            quorum: 1,
            panel: None,
            stand_ins: Vec::new(),
            claim_window_s: 600,
            cooldown_s: 600,
            notify: Vec::new(),
            unattended: Unattended::Wait,
            assurance: Assurance::Link,
            sensitive: false,
            redact: Vec::new(),
            risk_why: None,
            masked_ok: false,
            owner: None,
            tool_fingerprint: None,
            address_fingerprint: None,
            reserved: Reservation::default(),
        },
        decisions: Vec::new(),
        created_at: now,
        expires_at: now.plus(Duration::from_mins(15)),
        decided_at: None,
        claim_deadline: None,
        finished_at: None,
        end_reason: None,
        outcome: None,
        settled: None,
        owed: false,
        executor: None,
        waiting: false,
        held: 0,
        followed: false,
        unsent: false,
        ran_before: None,
    }
}
