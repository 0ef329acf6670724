//! A configuration and an approval for tests of what people are told.

use std::time::Duration;

use crate::config::{Config, Notifier, NotifierKind, Reviewer, Role};
use crate::domain::approval::{Approval, ApprovalId, Assurance, Choice, Decision, Via};
use crate::domain::mask::Masker;
use crate::domain::time::Timestamp;
use crate::fixtures;

/// 2026-11-22T13:35:00Z, when the fixture's call came; it expires 30 minutes later.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_795_354_500_000_000);

const MINUTE: Duration = Duration::from_mins(1);

pub(crate) fn masker() -> Masker {
    Masker::new(&["password".into()], b"key")
}

pub(crate) fn reviewer(name: &str, role: Role) -> Reviewer {
    Reviewer {
        name: name.into(),
        email: Some(format!("{name}@example.org")),
        groups: Vec::new(),
        role,
        token_sha256: None,
    }
}

/// Reviewers ana, bo, root (admin), kim (auditor), cy (no address); a mailbox `demo`, mail with a
/// list, a webhook.
const CONFIG: &str = r#"
[server]
public_url = "https://placet.example/"

[[agents]]
name = "claude-code"
token = "token-of-claude-code"

[[reviewers]]
name = "ana"
email = "ana@example.org"

[[reviewers]]
name = "bo"
email = "bo@example.org"

[[reviewers]]
name = "root"
email = "root@example.org"
role = "admin"

[[reviewers]]
name = "kim"
email = "kim@example.org"
role = "auditor"

[[reviewers]]
name = "cy"

[[notifiers]]
name = "mail"
kind = "email"
smtp_url = "smtp://127.0.0.1:1"
from = "Placet <placet@example.org>"
to = ["list@example.org"]

[[notifiers]]
name = "ops"
kind = "webhook"
url = "https://hooks.example.org/placet"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"#;

/// What [`CONFIG`] says, and the mailbox, which no configuration can name.
pub(crate) fn config() -> Config {
    let mut config = crate::config::tests::config(CONFIG);
    let demo =
        Notifier { name: "demo".into(), kind: NotifierKind::Memory, include_arguments: true };
    config.notifiers.insert(0, demo);
    config
}

/// Number `n`: ana, bo, kim and cy are asked by mail and webhook, quorum 2.
pub(crate) fn approval_numbered(n: u32) -> Approval {
    let params = r#"{"name":"delete_image_set","arguments":{"datastore_id":"prod","image_set_id":"7f","count":1.00,"password":"hunter2"}}"#;
    let id = ApprovalId::parse(&format!("apr_{n:032x}")).unwrap();
    let mut approval = fixtures::pending(id, params, &["ana", "bo", "kim", "cy", "gone"], NOW);
    approval.agent = "claude-code".into();
    approval.client = Some("claude-code/2.4".into());
    approval.reason = Some("Deleting an image set cannot be undone.".into());
    approval.expires_at = NOW.plus(30 * MINUTE);
    approval.waiting = true;
    approval.terms.quorum = 2;
    approval.terms.notify = vec!["mail".into(), "ops".into()];
    approval
}

pub(crate) fn approval() -> Approval {
    approval_numbered(1)
}

pub(crate) fn decision(reviewer: &str, choice: Choice) -> Decision {
    Decision {
        assurance: Assurance::Session,
        reviewer: reviewer.into(),
        choice,
        reason: "checked".into(),
        via: Via::Email,
        at: NOW.plus(MINUTE),
    }
}
