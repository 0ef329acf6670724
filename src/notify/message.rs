//! What people read: approvals rendered into mails.
//!
//! Every foreign word is made visible and bounded before a template sees it, so a mail shows what
//! is there and nothing said in it can break out of it. Secrets are masked. It does not know how
//! a mail is sent, or when.

use std::collections::HashMap;

use askama::Template;

use crate::broker::people::plan::{address, delivery_id};
use crate::config::{self, Config, NotifierKind, Reviewer, Role};
use crate::domain::approval::{Approval, Choice, Outcome, State, Unattended};
use crate::domain::json;
use crate::domain::mask::Masker;
use crate::domain::time::{Timestamp, in_words};
use crate::domain::visible_text::mixed_script;

use super::{Email, Message};

mod facts;
mod wrap;

pub(crate) use facts::expiry_in_words;
use facts::{Facts, word};

/// Most approvals a summary names.
pub(crate) const MAX_SUMMARY: usize = 20;

/// All that rendering needs besides what is told.
#[derive(Clone, Copy)]
pub(crate) struct Letter<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What hides secrets.
    pub masker: &'a Masker,
    /// The notifier that will send it.
    pub notifier: &'a config::Notifier,
    /// The address it goes to.
    pub to: &'a str,
    /// The delivery's id, which names the mail.
    pub id: &'a str,
    /// The delivery's recipient: a reviewer's name, or a list.
    pub recipient: &'a str,
    /// The current instant.
    pub now: Timestamp,
}

/// Names the three templates of a mail; each sees its words as `m`.
macro_rules! mail {
    ($words:ident, $render:ident, $subject:literal, $text:literal, $html:literal) => {
        fn $render(letter: Letter<'_>, references: Option<String>, m: &$words<'_>) -> Email {
            #[derive(Template)]
            #[template(path = $subject)]
            struct Subject<'a> {
                m: &'a $words<'a>,
            }
            #[derive(Template)]
            #[template(path = $text)]
            struct Text<'a> {
                m: &'a $words<'a>,
            }
            #[derive(Template)]
            #[template(path = $html)]
            struct Html<'a> {
                m: &'a $words<'a>,
            }
            Email {
                to: letter.to.to_owned(),
                subject: print(&Subject { m }).trim().to_owned(),
                text: wrap::wrapped(&print(&Text { m })),
                html: print(&Html { m }),
                message_id: message_id(letter.config, letter.id),
                references,
            }
        }
    };
}

struct Requested<'a> {
    title: String,
    reminder: bool,
    facts: Facts,
    expiry: String,
    effect: String,
    link: &'a str,
    decides: bool,
    site: String,
}
mail!(
    Requested,
    render_requested,
    "email/approval_requested.subject.txt",
    "email/approval_requested.txt",
    "email/approval_requested.html"
);

struct Resolved<'a> {
    word: &'a str,
    title: String,
    what: String,
    facts: Facts,
    link: String,
    site: String,
}
mail!(
    Resolved,
    render_resolved,
    "email/approval_resolved.subject.txt",
    "email/approval_resolved.txt",
    "email/approval_resolved.html"
);

struct Indeterminate<'a> {
    title: &'a str,
    what: String,
    was_put_back: bool,
    facts: Facts,
    link: String,
    site: String,
}
mail!(
    Indeterminate,
    render_indeterminate,
    "email/indeterminate.subject.txt",
    "email/indeterminate.txt",
    "email/indeterminate.html"
);

struct SignIn<'a> {
    name: String,
    link: &'a str,
    life: String,
    site: String,
}
mail!(
    SignIn,
    render_sign_in,
    "email/sign_in.subject.txt",
    "email/sign_in.txt",
    "email/sign_in.html"
);

struct Summary<'a> {
    title: String,
    lines: &'a [String],
    more: usize,
    link: String,
    site: String,
}
mail!(
    Summary,
    render_summary,
    "email/summary.subject.txt",
    "email/summary.txt",
    "email/summary.html"
);

struct Test<'a> {
    name: &'a str,
    link: String,
    site: String,
}
mail!(Test, render_test, "email/test.subject.txt", "email/test.txt", "email/test.html");

/// A request or reminder. `link` is the recipient's own review link where `decides`, else the
/// approval's page.
pub(crate) fn requested(
    letter: Letter<'_>,
    approval: &Approval,
    reminder: bool,
    link: &str,
    decides: bool,
) -> Email {
    let facts = Facts::of(letter, approval);
    let words = Requested {
        title: format!("{} asks to call {} on {}", facts.agent, facts.tool, facts.upstream),
        reminder,
        facts,
        expiry: expiry_in_words(approval.expires_at, letter.now),
        effect: effect(approval),
        link,
        decides,
        site: site(letter.config),
    };
    render_requested(letter, Some(references(letter, approval)), &words)
}

/// The end of the question: `approved`, `rejected`, `expired` or `cancelled`.
pub(crate) fn resolved(letter: Letter<'_>, approval: &Approval, state: State) -> Email {
    let (title_word, what) = resolution(approval, state);
    let facts = Facts::of(letter, approval);
    let words = Resolved {
        word: title_word,
        title: format!("{title_word}: {} for {}", facts.tool, facts.agent),
        what,
        facts,
        link: page(letter.config, approval),
        site: site(letter.config),
    };
    render_resolved(letter, Some(references(letter, approval)), &words)
}

/// Nobody knows whether the approved call ran.
pub(crate) fn indeterminate(letter: Letter<'_>, approval: &Approval) -> Email {
    let words = Indeterminate {
        title: "Nobody knows whether this call ran",
        what: word(approval.end_reason.as_deref().unwrap_or("the connection broke")),
        was_put_back: approval.was_put_back(),
        facts: Facts::of(letter, approval),
        link: page(letter.config, approval),
        site: site(letter.config),
    };
    render_indeterminate(letter, Some(references(letter, approval)), &words)
}

/// A one-time sign-in link.
pub(crate) fn sign_in(letter: Letter<'_>, reviewer: &Reviewer, link: &str) -> Email {
    let words = SignIn {
        name: word(&reviewer.name),
        link,
        life: in_words(letter.config.people.link_life),
        site: site(letter.config),
    };
    render_sign_in(letter, None, &words)
}

/// One mail in place of many requests; `waiting` are those the reviewer may still decide, or some of
/// them where there are `more`. One of each agent is named before the second of any.
pub(crate) fn summary(letter: Letter<'_>, waiting: &[Approval], more: bool) -> Email {
    let mut of_agent: HashMap<&str, usize> = HashMap::new();
    let mut in_turn: Vec<(usize, &Approval)> = waiting
        .iter()
        .map(|a| {
            let turn = of_agent.entry(&a.agent).or_default();
            *turn += 1;
            (*turn, a)
        })
        .collect();
    in_turn.sort_by_key(|(turn, _)| *turn);
    let lines: Vec<String> = in_turn
        .iter()
        .map(|(_, a)| *a)
        .take(MAX_SUMMARY)
        .map(|a| {
            let names = [&a.call.upstream, &a.call.tool, &a.agent];
            let alike = names.iter().any(|name| mixed_script(name).is_some());
            let flag = if alike { " (look-alike letters)" } else { "" };
            format!(
                "{}/{} for {}, expires {}{flag}",
                word(&a.call.upstream),
                word(&a.call.title()),
                word(&a.agent),
                expiry_in_words(a.expires_at, letter.now)
            )
        })
        .collect();
    let calls = if waiting.len() == 1 { "call waits" } else { "calls wait" };
    let words = Summary {
        title: format!(
            "{}{} {calls} for your decision",
            if more { "At least " } else { "" },
            waiting.len()
        ),
        lines: &lines,
        more: waiting.len() - lines.len(),
        link: letter.config.link("/"),
        site: site(letter.config),
    };
    render_summary(letter, None, &words)
}

/// The message of `placet notify test`. A mail goes to the notifier's first list, else to an admin,
/// else to any reviewer with an address.
///
/// # Errors
/// A sentence for the operator, when nobody has an address to which the mail could go.
pub(crate) fn test_message(
    config: &Config,
    masker: &Masker,
    notifier: &config::Notifier,
    id: &str,
    now: Timestamp,
) -> Result<Message, String> {
    if let NotifierKind::Webhook { .. } = notifier.kind {
        let data = json::object([("notifier", json::quote(&notifier.name).as_str())]);
        let body = json::object([
            ("type", json::quote("placet.test").as_str()),
            ("timestamp", json::quote(&now.to_string()).as_str()),
            ("data", data.as_str()),
        ]);
        return Ok(Message::Webhook { id: id.to_owned(), at: now, body });
    }
    let list = match &notifier.kind {
        NotifierKind::Email { to, .. } => to.first().cloned(),
        NotifierKind::Webhook { .. } | NotifierKind::Memory => None,
    };
    let mut reviewers: Vec<&Reviewer> = config.reviewers.iter().collect();
    reviewers.sort_by_key(|r| r.role != Role::Admin);
    let to =
        list.or_else(|| reviewers.iter().find_map(|r| address(notifier, r))).ok_or_else(|| {
            format!(
                "nobody to write to: give a reviewer an email, or notifier {} a \"to\" list",
                notifier.name
            )
        })?;
    let letter = Letter { config, masker, notifier, to: &to, id, recipient: "", now };
    let words = Test { name: &notifier.name, link: config.link("/"), site: site(config) };
    Ok(Message::Email(render_test(letter, None, &words)))
}

fn print(template: &impl Template) -> String {
    template.render().expect("writing to a string can't fail")
}

fn site(config: &Config) -> String {
    config.link("")
}

fn page(config: &Config, approval: &Approval) -> String {
    config.link(&format!("/approvals/{}", approval.id))
}

/// `id@host`, the same at every attempt.
fn message_id(config: &Config, id: &str) -> String {
    format!("{id}@{}", config.server.public_url.host_str().unwrap_or("placet.invalid"))
}

/// The approval's own name, under which all of its mails gather, and the request this recipient
/// got before.
fn references(letter: Letter<'_>, approval: &Approval) -> String {
    let root = message_id(letter.config, approval.id.as_str());
    let first = delivery_id(
        approval.id.as_str(),
        "requested",
        &letter.notifier.name,
        Some(letter.recipient),
    );
    if first == letter.id { root } else { format!("{root} {}", message_id(letter.config, &first)) }
}

/// One sentence on what approving does now.
fn effect(a: &Approval) -> String {
    let approvers = a.approvers();
    let yes = a.terms.seats(&approvers);
    let what = if a.terms.missing(&approvers) > 1 {
        match &a.terms.panel {
            Some(panel) => format!("Several must approve: {} so far.", panel.words(&yes)),
            None => format!("{} people must approve; {} did so far.", a.terms.quorum, yes.len()),
        }
    } else if a.waiting {
        "Approving runs the call at once: the agent is waiting.".to_owned()
    } else if a.terms.unattended == Unattended::Run {
        "Approving runs the call at once, although the agent is not waiting for it.".to_owned()
    } else {
        let window = std::time::Duration::from_secs(a.terms.claim_window_s);
        format!(
            "The agent is not waiting: approving lets its next identical call through, for {}.",
            in_words(window)
        )
    };
    format!("{what} One rejection is enough to reject.")
}

/// The word for a subject, and what happened in a sentence or two.
fn resolution(a: &Approval, state: State) -> (&'static str, String) {
    let by = |choice: Choice| {
        a.decisions
            .iter()
            .filter(|d| d.choice == choice)
            .map(|d| word(&d.reviewer))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let why = || a.end_reason.as_deref().map(|r| format!(": {}", word(r))).unwrap_or_default();
    match state {
        State::Approved => ("Approved", format!("Approved by {}.", by(Choice::Approve))),
        State::Rejected => ("Rejected", format!("Rejected by {}.", by(Choice::Reject))),
        State::Expired => ("Expired", format!("It expired{}.", why())),
        State::Cancelled => ("Cancelled", format!("It was cancelled{}.", why())),
        // Mailed only to those who were told that nobody knew.
        State::Completed => {
            let failed = a.outcome.as_ref().is_some_and(Outcome::is_error);
            let how = if failed { " The answer says that it failed." } else { "" };
            let said = "It ran: its answer came after it had been given up as unknown.";
            ("It ran", format!("{said}{how}"))
        }
        State::Pending | State::Running | State::Indeterminate => {
            ("Changed", format!("It is {state} now."))
        }
    }
}

#[cfg(test)]
mod tests;
