//! What stands beside a call so that it can be judged: how it differs from the last one of the
//! same tool that people let through, and what its agent asked for before.

use crate::auth::Proven;
use crate::broker::Broker;
use crate::broker::call::limits::{Counts, Limit};
use crate::config::Reviewer;
use crate::domain::approval::{Approval, Assurance, Choice, State};
use crate::domain::grant::values;
use crate::domain::mask::Masker;
use crate::domain::policy::Scope;

use super::error::Problem;
use super::grants::shown;
use super::queue::Row;
use super::view::When;
use crate::domain::visible_text::visible;
use crate::store::Filter;

/// Most earlier calls that are looked through for one that was approved.
const LOOKED_AT: u32 = 20;
/// Earlier calls of the agent that are shown.
const RECENT: usize = 5;

/// One value that differs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// JSON Pointer of the value (<https://www.rfc-editor.org/rfc/rfc6901#section-5>).
    pub path: String,
    /// The value before; none if there was none.
    pub was: Option<String>,
    /// The value now; none if there is none.
    pub now: Option<String>,
}

/// How a call differs from an earlier one.
#[derive(Debug)]
pub(crate) struct Compared {
    /// The earlier call's approval.
    pub id: String,
    /// When it was approved.
    pub at: When,
    /// Who approved it.
    pub by: String,
    /// The values that differ.
    pub changed: Vec<Changed>,
    /// How many values are the same.
    pub same: usize,
}

/// What stands beside a call.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The last approved call of the same tool.
    pub compared: Option<Compared>,
    /// The agent's earlier calls that needed people, newest first.
    pub recent: Vec<Row>,
    /// The limits over it, with what is used of them.
    pub limits: Vec<String>,
}

/// What stands beside this call for this reviewer.
///
/// # Errors
/// `unavailable`: the store failed.
pub(crate) async fn beside(
    broker: &Broker,
    approval: &Approval,
    reviewer: &Reviewer,
) -> Result<Beside, Problem> {
    let filter = Filter {
        agent: Some(approval.agent.clone()),
        before: Some(approval.id.to_string()),
        limit: LOOKED_AT,
        ..Filter::default()
    };
    let recent = broker.list_for(reviewer, filter.clone()).await?;
    let same_tool = Filter {
        upstream: Some(approval.call.upstream.clone()),
        tool: Some(approval.call.tool.clone()),
        states: vec![State::Approved, State::Running, State::Completed],
        ..filter
    };
    let earlier = broker.list_for(reviewer, same_tool).await?;
    let earlier = earlier.iter().find(|a| a.call.method == approval.call.method);
    Ok(Beside {
        compared: earlier.and_then(|earlier| compared(broker, earlier, approval)),
        recent: recent
            .iter()
            .take(RECENT)
            .map(|a| Row::new(broker, a, Proven { reviewer, assurance: Assurance::Link }))
            .collect(),
        limits: broker.limits_over(approval).await?.into_iter().map(limit_words).collect(),
    })
}

/// `Calls of this agent by this rule within 1 minute: 3 of at most 5`
fn limit_words(limit: Limit) -> String {
    let what = match &limit.counts {
        Counts::Open => "Calls of this agent that wait or are approved".to_owned(),
        Counts::New => "New ones of this agent".to_owned(),
        Counts::ByRule => "Calls of this agent by this rule".to_owned(),
        Counts::ByRuleAndSession => "Calls by this rule in each session".to_owned(),
        Counts::Counter(what, Scope::Session) => format!("Limited in each session: {what}"),
        Counts::Counter(what, scope) => format!("Limited: {what} {}", scope.whose()),
    };
    let within = limit.window.map(|w| format!(" {w}")).unwrap_or_default();
    let used = limit.used.map(|n| format!("{n} of ")).unwrap_or_default();
    format!("{what}{within}: {used}at most {}", limit.max)
}

fn compared(broker: &Broker, earlier: &Approval, approval: &Approval) -> Option<Compared> {
    let yes = earlier.decisions.iter().rfind(|d| d.choice == Choice::Approve)?;
    let (was, now) = (values(&earlier.call).ok()?, values(&approval.call).ok()?);
    let changed = changes(&was, &now, broker.masker(), &approval.terms.redact);
    let same = now.iter().filter(|value| was.contains(value)).count();
    Some(Compared {
        id: earlier.id.to_string(),
        at: When::new(yes.at, broker.now()),
        by: yes.reviewer.clone(),
        changed,
        same,
    })
}

type Values = [(String, String)];

fn changes(was: &Values, now: &Values, masker: &Masker, redact: &[String]) -> Vec<Changed> {
    let of = |all: &Values, path: &str| {
        all.iter().find(|(p, _)| p == path).map(|(_, value)| value.clone())
    };
    let show = |path: &str, value: Option<String>| value.map(|v| shown(path, &v, masker, redact));
    let gone = was.iter().filter(|(path, _)| of(now, path).is_none());
    now.iter()
        .chain(gone)
        .filter(|(path, _)| of(was, path) != of(now, path))
        .map(|(path, _)| Changed {
            path: visible(path),
            was: show(path, of(was, path)),
            now: show(path, of(now, path)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_gone_or_another_value_is_named_and_secrets_stay_masked() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let was = [pair("/store", "\"test\""), pair("/id", "1"), pair("/password", "\"old\"")];
        let now = [
            pair("/id", "1"),
            pair("/store", "\"prod\""),
            pair("/password", "\"new\""),
            pair("/f", "true"),
        ];
        let masker = Masker::new(&["password".into()], b"k");

        let changed = changes(&was, &now, &masker, &[]);

        let paths: Vec<&str> = changed.iter().map(|c| c.path.as_str()).collect();
        assert_eq!(paths, ["/store", "/password", "/f"]);
        assert_eq!(changed[0].was.as_deref(), Some("\"test\""));
        assert_eq!(changed[2].was, None);
        let secret = format!("{:?}", changed[1]);
        assert!(
            secret.contains("masked") && !secret.contains("old") && !secret.contains("new\\\"")
        );
        assert_ne!(changed[1].was, changed[1].now, "two secrets look different");
        let gone = changes(&now, &was, &masker, &[]);
        assert_eq!(gone.last().unwrap().now, None);
    }
}
