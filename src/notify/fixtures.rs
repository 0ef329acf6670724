//! A configuration and an approval for tests of what people are told.

use std::time::Duration;

use crate::config::{
    Agent, Approvals, Audit, AuditCalls, Config, Database, Masking, NewPerAgent, Notifier,
    NotifierKind, People, Reviewer, Role, Secret, Server, Telemetry,
};
use crate::domain::approval::{
    Approval, ApprovalId, Assurance, Choice, Decision, State, Terms, Unattended, Via,
};
use crate::domain::call::ToolCall;
use crate::domain::mask::Masker;
use crate::domain::time::Timestamp;

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

fn notifier(name: &str, kind: NotifierKind, include_arguments: bool) -> Notifier {
    Notifier { name: name.into(), kind, include_arguments }
}

/// Reviewers ana, bo, root (admin), kim (auditor), cy (no address); a mailbox `demo`, mail with a
/// list, a webhook.
pub(crate) fn config() -> Config {
    let mut cy = reviewer("cy", Role::Reviewer);
    cy.email = None;
    Config {
        file: None,
        server: Server {
            listen: "127.0.0.1:8420".parse().unwrap(),
            public_url: "https://placet.example/".parse().unwrap(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_body: 1 << 22,
            max_result: 1 << 24,
            resume_window: Duration::ZERO,
            resume_buffer: 0,
            shutdown_grace: 10 * MINUTE / 60,
            max_subscriptions: 100,
            max_streams_per_agent: 64,
            max_early_cancellations: 32,
            sse_initialize_within: Duration::from_secs(60),
            max_sse_requests: 256,
            max_input_rounds: 8,
            question_wait: Duration::from_secs(3),
            max_questions: 16,
            max_export: 10_000,
        },
        database: Database { url: Secret::new("sqlite::memory:") },
        approvals: Approvals {
            timeout: 15 * MINUTE,
            hold: MINUTE,
            hold_with_progress: MINUTE,
            heartbeat: MINUTE / 6,
            claim_window: 10 * MINUTE,
            cooldown: 10 * MINUTE,
            result_retention: 60 * MINUTE,
            max_outcome: 1 << 20,
            max_arguments: 1 << 18,
            max_pending_per_agent: 100,
            max_pending: 10_000,
            max_new_per_agent: NewPerAgent { max: 60, window: 10 * MINUTE },
            max_held_per_agent: 200,
            page_rounds: 6,
            task_poll_interval: Duration::from_secs(5),
            max_tasks_per_agent: 1000,
            assurance: Assurance::Link,
            max_grants_per_agent: 20,
            reminder: None,
            history_retention: 60 * 24 * MINUTE,
        },
        audit: Audit { calls: AuditCalls::Group },
        telemetry: Telemetry { public_metrics: false },
        masking: Masking { keys: vec!["password".into()] },
        oidc: None,
        people: People {
            session_idle: Duration::from_hours(12),
            link_life: Duration::from_mins(15),
            sign_in_window: Duration::from_mins(15),
            sign_in_mails: 3,
            sign_in_requests: 20,
            sign_in_tokens: 20,
            max_tokens: 20,
            max_token_life: Duration::from_hours(24 * 365),
            max_absences: 10,
            max_passkeys: 10,
            passkey_wait: Duration::from_secs(120),
        },
        upstreams: Vec::new(),
        agents: vec![Agent {
            name: "claude-code".into(),
            token_sha256: None,
            upstreams: None,
            owner: None,
            hold: None,
            hold_with_progress: None,
            withdraw_on_disconnect: false,
            wait_tool: false,
            url_elicitation: true,
            client_features: None,
        }],
        reviewers: vec![
            reviewer("ana", Role::Reviewer),
            reviewer("bo", Role::Reviewer),
            reviewer("root", Role::Admin),
            reviewer("kim", Role::Auditor),
            cy,
        ],
        notifiers: vec![
            notifier("demo", NotifierKind::Memory, true),
            notifier(
                "mail",
                NotifierKind::Email {
                    smtp_url: Secret::new("smtp://127.0.0.1:1"),
                    from: "Placet <placet@example.org>".into(),
                    to: vec!["list@example.org".into()],
                },
                true,
            ),
            notifier(
                "ops",
                NotifierKind::Webhook {
                    url: "https://hooks.example.org/placet".parse().unwrap(),
                    secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
                    allow_private_network: false,
                },
                false,
            ),
        ],
        implicit_owner: false,
    }
}

/// Number `n`: ana, bo, kim and cy are asked by mail and webhook, quorum 2.
pub(crate) fn approval_numbered(n: u32) -> Approval {
    let params = r#"{"name":"delete_image_set","arguments":{"datastore_id":"prod","image_set_id":"7f","count":1.00,"password":"hunter2"}}"#;
    Approval {
        id: ApprovalId::parse(&format!("apr_{n:032x}")).unwrap(),
        version: 1,
        state: State::Pending,
        call: ToolCall::read("images", params).unwrap(),
        agent: "claude-code".into(),
        client: Some("claude-code/2.4".into()),
        rule: "/tools/delete_image_set".into(),
        reason: Some("Deleting an image set cannot be undone.".into()),
        risk: None,
        severity: None,
        terms: Terms {
            reviewers: ["ana", "bo", "kim", "cy", "gone"].map(String::from).to_vec(),
            quorum: 2,
            panel: None,
            stand_ins: Vec::new(),
            claim_window_s: 600,
            cooldown_s: 600,
            notify: vec!["mail".into(), "ops".into()],
            unattended: Unattended::Wait,
            assurance: Assurance::Link,
            sensitive: false,
            redact: Vec::new(),
            owner: None,
            tool_fingerprint: None,
        },
        decisions: Vec::new(),
        created_at: NOW,
        expires_at: NOW.plus(30 * MINUTE),
        decided_at: None,
        claim_deadline: None,
        finished_at: None,
        end_reason: None,
        outcome: None,
        settled: None,
        owed: false,
        executor: None,
        waiting: true,
        ran_before: None,
    }
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
