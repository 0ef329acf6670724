//! One approval as its reviewers see it, on the approval page and behind a mailed link alike.

use crate::broker::Broker;
use crate::broker::people::rights::Rights;
use crate::domain::approval::{Approval, Outcome, State, Unattended};
use crate::domain::call::{Method, is_own_meta};
use crate::domain::json::{self, Node};
use crate::domain::risk;
use crate::domain::time::{Timestamp, in_words};
use crate::domain::visible_text::{mixed_script, pretty, visible};

use super::arguments::{Rendered, Show, grouped, raw, render};
use super::view::{DecisionLine, When, decision_lines, state_words};

/// Most of an outcome that a page shows, bytes.
pub(crate) const MAX_OUTCOME_SHOWN: usize = 64 * 1024;

/// What the upstream answered, for people.
#[derive(Debug, Clone)]
pub(crate) struct OutcomeView {
    /// Whether it failed.
    pub is_error: bool,
    /// Indented JSON, cut at [`MAX_OUTCOME_SHOWN`].
    pub text: String,
    /// A sentence for the reader where the text is cut or was not kept.
    pub note: Option<String>,
}

/// What became of an indeterminate call, for people.
#[derive(Debug, Clone)]
pub(crate) struct SettledView {
    /// Whether it ran.
    pub done: bool,
    /// Who said so.
    pub by: String,
    /// The reason they gave.
    pub reason: String,
}

/// One approval as a reviewer sees it.
#[derive(Debug, Clone)]
pub(crate) struct CallView {
    /// The approval's id.
    pub id: String,
    /// The state's word, as in the API.
    pub state: &'static str,
    /// The state in words, for people.
    pub state_words: &'static str,
    /// The title of the call, made visible: the tool's name, anything else with its method.
    pub tool: String,
    /// Said of names and reasons with letters that pass for others.
    pub look_alikes: Vec<String>,
    /// The name of the upstream it goes to.
    pub upstream: String,
    /// The name of the agent that asks.
    pub agent: String,
    /// What the agent's client calls itself.
    pub client: Option<String>,
    /// Whether a held request of the agent waits for it now.
    pub waiting: bool,
    /// JSON Pointer of the rule that asks for approval.
    pub rule: String,
    /// The reason that the rule gives for asking.
    pub reason: Option<String>,
    /// Risk and severity, where they are known.
    pub risk: Option<String>,
    /// What in the tool's definition speaks for that, where its rule does not say it.
    pub risk_why: Option<String>,
    /// The digest of the call, which a decision must repeat.
    pub digest: String,
    /// How long what is decided counts.
    pub terms: String,
    /// Approvals given and needed.
    pub progress: String,
    /// Who may decide.
    pub reviewers: String,
    /// When the approval was asked for.
    pub created: When,
    /// Until when it may be decided.
    pub expires: When,
    /// Until when an approved call may be claimed.
    pub claim_deadline: Option<When>,
    /// The call's arguments as HTML.
    pub arguments: Rendered,
    /// The arguments as raw JSON, as safe HTML, where nothing of them is folded.
    pub raw: Option<String>,
    /// Further members of `params`.
    pub extra: Option<Rendered>,
    /// The agent's own `_meta`.
    pub meta: Option<Rendered>,
    /// How many long values are folded.
    pub folded: usize,
    /// How many masked values must be shown before the call can be approved.
    pub blind: usize,
    /// How many values are secret.
    pub secrets: usize,
    /// How many things are flagged.
    pub flags: usize,
    /// How much of the call is shown.
    pub show: Show,
    /// The decisions so far, oldest first.
    pub decisions: Vec<DecisionLine>,
    /// What approving does now.
    pub consequence: Option<String>,
    /// Why this reviewer can't approve.
    pub why_not: Option<&'static str>,
    /// How the tool describes itself.
    pub tool_words: Option<String>,
    /// Whether the tool was redefined since the call came.
    pub tool_changed: bool,
    /// Whether the upstream has another address than when the call came.
    pub moved: bool,
    /// When an identical call ran before.
    pub ran_before: Option<When>,
    /// The reason why the approval ended, made visible.
    pub end_reason: Option<String>,
    /// What the upstream answered.
    pub outcome: Option<OutcomeView>,
    /// How an indeterminate call was settled.
    pub settled: Option<SettledView>,
    /// What this reviewer may do with it.
    pub rights: Rights,
}

impl CallView {
    /// The approval as the reviewer `viewer` sees it, who has these rights.
    pub(crate) fn new(
        broker: &Broker,
        a: &Approval,
        viewer: &str,
        rights: Rights,
        show: Show,
    ) -> Self {
        let now = broker.now();
        let (arguments, extra, meta) = rendered_parts(broker, a, show);
        let all = || [Some(&arguments), extra.as_ref(), meta.as_ref()].into_iter().flatten();
        let (folded, secrets) = (all().map(|r| r.folded).sum(), all().map(|r| r.secrets).sum());
        let blind = if show.revealed { 0 } else { unseen(broker, a) };
        let flags = all().map(|r| r.flags).sum();
        let tool = tool_words(broker, a);
        let moved = a.state == State::Pending && broker.has_moved(a);
        Self {
            id: a.id.to_string(),
            state: a.state.as_str(),
            state_words: state_words(a, now),
            tool: visible(&a.call.title()),
            look_alikes: look_alikes(a),
            upstream: visible(&a.call.upstream),
            agent: visible(&a.agent),
            client: a.client.as_deref().map(visible),
            waiting: a.waiting,
            rule: visible(&a.rule),
            reason: a.reason.as_deref().map(visible),
            risk: risk::in_words(a.risk, a.severity),
            risk_why: a.terms.risk_why.as_deref().map(visible),
            digest: a.digest().to_string(),
            progress: progress(a),
            reviewers: a.terms.reviewers.join(", "),
            created: When::new(a.created_at, now),
            expires: When::new(a.expires_at, now),
            claim_deadline: a
                .claim_deadline
                .filter(|_| a.state == State::Approved)
                .map(|t| When::new(t, now)),
            raw: (arguments.folded == 0)
                .then(|| raw(&a.call.arguments(), broker.masker(), &a.terms.redact, show)),
            terms: terms_words(a),
            folded,
            blind,
            secrets,
            flags,
            show,
            arguments,
            extra,
            meta,
            decisions: decision_lines(a, now),
            consequence: rights.approve.is_ok().then(|| consequence(a, viewer, now)),
            why_not: rights.why_not_approve(),
            tool_changed: tool.as_ref().is_some_and(|(_, changed)| *changed),
            moved,
            tool_words: tool.and_then(|(words, _)| words),
            ran_before: a.ran_before.map(|t| When::new(t, now)),
            end_reason: a
                .end_reason
                .as_deref()
                .filter(|_| a.state != State::Completed)
                .map(visible),
            outcome: outcome(broker, a, show),
            settled: a.settled.as_ref().map(|s| SettledView {
                done: s.done,
                by: s.by.clone(),
                reason: visible(&s.reason),
            }),
            rights,
        }
    }

    /// Whether something secret is masked that could be shown.
    pub(crate) fn can_reveal(&self) -> bool {
        self.secrets > 0 && !self.show.revealed
    }
}

/// How many values are masked of which people must see what they say before they approve.
pub(crate) fn unseen(broker: &Broker, a: &Approval) -> usize {
    if a.terms.masked_ok {
        return 0;
    }
    let mut parts = vec![a.call.arguments().into_owned()];
    if let Ok(params) = json::parse(&a.call.params) {
        parts.extend(params.get("_meta").map(|meta| meta.keep_members(is_own_meta)));
        parts.extend(a.call.method.further_members(&params));
    }
    parts.iter().map(|raw| broker.masker().blind(raw, &a.terms.redact)).sum()
}

/// A sentence for each name or reason with letters that pass for others. Arguments and decisions
/// carry such a flag of their own.
fn look_alikes(a: &Approval) -> Vec<String> {
    [
        ("The tool's name", Some(a.call.tool.as_str())),
        ("The server's name", Some(&a.call.upstream)),
        ("The agent's name", Some(&a.agent)),
        ("What the agent's client calls itself", a.client.as_deref()),
        ("The rule's reason", a.reason.as_deref()),
        ("The reason why it ended", a.end_reason.as_deref()),
        ("The reason why it was settled", a.settled.as_ref().map(|s| s.reason.as_str())),
    ]
    .into_iter()
    .filter_map(|(whose, text)| Some(format!("{whose} may mislead. {}", mixed_script(text?)?)))
    .collect()
}

fn rendered_parts(
    broker: &Broker,
    a: &Approval,
    show: Show,
) -> (Rendered, Option<Rendered>, Option<Rendered>) {
    let of = |raw: &str| render(raw, broker.masker(), &a.terms.redact, show);
    let arguments = of(&a.call.arguments());
    let Ok(params) = json::parse(&a.call.params) else { return (arguments, None, None) };
    let meta = params.get("_meta").map(|meta| meta.keep_members(is_own_meta));
    let meta = meta.filter(|meta| meta != "{}");
    let extra = a.call.method.further_members(&params);
    (arguments, extra.map(|extra| of(&extra)), meta.map(|meta| of(&meta)))
}

/// What approving does now, in one sentence.
fn consequence(a: &Approval, reviewer: &str, now: Timestamp) -> String {
    let mut given = a.approvers();
    given.push(reviewer);
    let missing = a.terms.missing(&given);
    if missing > 0 {
        let (word, verb) = if missing == 1 { ("approval", "is") } else { ("approvals", "are") };
        return format!(
            "Approving does not run it yet: {missing} more {word} {verb} needed after yours."
        );
    }
    if a.terms.unattended == Unattended::Run {
        return "Approving runs this call at once, whether or not the agent still waits for it."
            .to_owned();
    }
    if a.waiting {
        return "Approving runs this call at once: the agent is waiting for it.".to_owned();
    }
    let window = std::time::Duration::from_secs(a.terms.claim_window_s);
    format!(
        "The agent is not waiting any more. Approving lets its next identical call through \
         within {} of your approval (now: until {}); nothing runs before that.",
        in_words(window),
        now.plus(window).clock_time()
    )
}

/// How long an approval and a rejection count.
fn terms_words(a: &Approval) -> String {
    let of = |seconds| in_words(std::time::Duration::from_secs(seconds));
    let mut words = match a.terms.unattended {
        Unattended::Run => "Approved, it runs whether or not the agent waits.".to_owned(),
        Unattended::Wait => format!(
            "Approved without the agent waiting, its next identical call passes for {}.",
            of(a.terms.claim_window_s)
        ),
    };
    if a.terms.cooldown_s > 0 {
        words += &format!(
            " Rejected, the identical call is refused for {} without asking again.",
            of(a.terms.cooldown_s)
        );
    }
    words
}

/// How many approvals were given of those needed, as `1 of 2 approvals`.
pub(crate) fn progress(a: &Approval) -> String {
    let approvers = a.approvers();
    let given = a.terms.seats(&approvers);
    if let Some(panel) = &a.terms.panel {
        return panel.words(&given);
    }
    let given = given.len();
    format!("{given} of {} approval{}", a.terms.quorum, if a.terms.quorum == 1 { "" } else { "s" })
}

/// The tool's description of itself, and whether its definition changed since the call came.
fn tool_words(broker: &Broker, a: &Approval) -> Option<(Option<String>, bool)> {
    if a.call.method != Method::CallTool {
        return None;
    }
    let catalog = broker.upstream(&a.call.upstream)?.catalog()?;
    let tool = catalog.find(&a.call.tool)?;
    let words = json::parse(&tool.raw)
        .ok()
        .and_then(|n| n.get("description").and_then(Node::as_str).map(cut_words));
    let changed = a.state == State::Pending
        && a.terms.tool_fingerprint.as_deref().is_some_and(|f| f != tool.fingerprint);
    Some((words, changed))
}

fn cut_words(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(1_000) {
        Some((at, _)) => format!("{}…", visible(&text[..at])),
        None => visible(text),
    }
}

fn outcome(broker: &Broker, a: &Approval, show: Show) -> Option<OutcomeView> {
    let outcome = a.outcome.as_ref()?;
    let is_error = outcome.is_error();
    let raw = match outcome {
        Outcome::Result(raw) | Outcome::Error(raw) => raw,
        Outcome::NotKept { .. } => {
            return Some(OutcomeView {
                is_error,
                text: String::new(),
                note: Some("It ran; the answer was too large to keep.".to_owned()),
            });
        }
    };
    let shown =
        if show.revealed { raw.clone() } else { broker.masker().mask(raw, &a.terms.redact) };
    let text = json::parse(&shown).map_or_else(|_| visible(&shown), |node| pretty(&node));
    let (text, note) = cut(text);
    Some(OutcomeView { is_error, text, note })
}

fn cut(mut text: String) -> (String, Option<String>) {
    if text.len() <= MAX_OUTCOME_SHOWN {
        return (text, None);
    }
    let whole = text.len();
    let mut at = MAX_OUTCOME_SHOWN;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.truncate(at);
    let note = format!(
        "Shown are the first {} of {} bytes; the API has all of it.",
        grouped(at),
        grouped(whole)
    );
    (text, Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_outcome_is_cut_between_characters_and_says_so() {
        let (text, note) = cut("é".repeat(MAX_OUTCOME_SHOWN));

        assert_eq!(text.len(), MAX_OUTCOME_SHOWN);
        assert!(note.unwrap().contains("first 65,536 of 131,072 bytes"));
        assert_eq!(cut("short".to_owned()), ("short".to_owned(), None));
    }
}
