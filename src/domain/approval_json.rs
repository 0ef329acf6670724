//! The Approval as JSON: the one form that the HTTP API, webhooks and events show.

use std::borrow::Cow;

use super::approval::{Approval, Outcome, State};
use super::json::{self, lenient};
use super::mask::Masker;
use super::risk::{RiskClass, Severity};
use super::time::Timestamp;

/// How much of arguments and outcome is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Detail<'a> {
    /// Everything as stored.
    Raw,
    /// Values under secret-named keys masked.
    Masked(&'a Masker),
    /// No arguments and no outcome.
    Without,
}

/// The Approval object of the HTTP API, as JSON text.
pub(crate) fn approval_json(a: &Approval, detail: Detail<'_>) -> String {
    let text = |t: Option<&str>| t.map_or_else(|| "null".to_owned(), json::quote);
    let time = |t: Option<Timestamp>| text(t.map(|t| t.to_string()).as_deref());
    let shown = |raw: &str| match detail {
        // An answer may be something less than JSON; what shows it is JSON.
        Detail::Raw | Detail::Without => lenient::readable(raw, &str::to_owned)
            .map_or_else(|| json::quote(raw), std::borrow::Cow::into_owned),
        Detail::Masked(masker) => masker.mask(raw, &a.terms.redact),
    };
    let tool = match detail {
        Detail::Raw => Cow::Borrowed(a.call.tool.as_str()),
        Detail::Masked(_) | Detail::Without => a.call.shown_tool(),
    };
    let decisions =
        serde_json::to_string(&a.decisions).expect("decisions are plain text and serialize");
    let settled = serde_json::to_string(&a.settled).expect("plain text serializes");
    let agent = json::object([
        ("name", json::quote(&a.agent).as_str()),
        ("client", text(a.client.as_deref()).as_str()),
    ]);
    let mut pairs: Vec<(&str, String)> = vec![
        ("id", json::quote(a.id.as_str())),
        ("state", json::quote(a.state.as_str())),
        ("upstream", json::quote(&a.call.upstream)),
        ("method", json::quote(a.call.method.as_str())),
        ("tool", json::quote(&tool)),
    ];
    if !matches!(detail, Detail::Without) {
        let arguments = match detail {
            Detail::Raw | Detail::Without => a.call.arguments(),
            Detail::Masked(_) => a.call.listed_arguments(),
        };
        pairs.push(("arguments", shown(&arguments)));
    }
    pairs.extend([
        ("digest", json::quote(a.digest().as_str())),
        ("agent", agent),
        ("waiting", a.waiting.to_string()),
        ("rule", json::quote(&a.rule)),
        ("reason", text(a.reason.as_deref())),
        ("risk", text(a.risk.map(RiskClass::as_str))),
        ("severity", text(a.severity.map(Severity::as_str))),
        ("risk_why", text(a.terms.risk_why.as_deref())),
        ("quorum", a.terms.quorum.to_string()),
        ("panel", panel_json(a)),
        ("decisions", decisions),
        ("created_at", time(Some(a.created_at))),
        ("expires_at", time(Some(a.expires_at))),
        ("decided_at", time(a.decided_at)),
        ("claim_deadline", time(a.claim_deadline)),
        ("finished_at", time(a.finished_at)),
    ]);
    if !matches!(detail, Detail::Without) {
        pairs.push(("outcome", outcome_json(a.outcome.as_ref(), shown)));
    }
    pairs.push(("settled", settled));
    pairs.push((
        "end_reason",
        text(a.end_reason.as_deref().filter(|_| a.state != State::Completed)),
    ));
    pairs.push(("ran_before", time(a.ran_before)));
    json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())))
}

/// The parts of the panel and how far each of them is; `null` where there is no panel.
fn panel_json(a: &Approval) -> String {
    let Some(panel) = &a.terms.panel else { return "null".to_owned() };
    let parts =
        panel.parts.iter().zip(panel.given(&a.terms.seats(&a.approvers()))).map(|(part, given)| {
            json::object([
                ("name", json::quote(&part.name).as_str()),
                ("quorum", &part.quorum.to_string()),
                ("given", &given.to_string()),
            ])
        });
    let parts = parts.collect::<Vec<_>>().join(",");
    json::object([
        ("join", json::quote(panel.join.as_str()).as_str()),
        ("parts", &format!("[{parts}]")),
    ])
}

fn outcome_json(outcome: Option<&Outcome>, shown: impl Fn(&str) -> String) -> String {
    let Some(outcome) = outcome else { return "null".to_owned() };
    let is_error = outcome.is_error();
    match outcome {
        Outcome::Result(raw) => format!("{{\"is_error\":{is_error},\"result\":{}}}", shown(raw)),
        Outcome::Error(raw) => format!("{{\"is_error\":{is_error},\"error\":{}}}", shown(raw)),
        Outcome::NotKept { .. } => {
            format!("{{\"is_error\":{is_error},\"result\":null,\"kept\":false}}")
        }
    }
}
