//! The facts of a call as mails show them: made visible, masked, bounded.

use std::time::Duration;

use crate::broker::people::plan::LIST_PREFIX;
use crate::domain::approval::Approval;
use crate::domain::json;
use crate::domain::risk;
use crate::domain::time::{Timestamp, in_words};
use crate::domain::visible_text::{mixed_script, mixed_script_in, pretty, visible};

use super::Letter;

/// Most bytes of arguments in a mail.
pub(crate) const MAX_ARGUMENTS: usize = 8 * 1024;
/// Most characters of any other foreign word in a mail.
const MAX_WORD: usize = 300;
/// Beyond this an instant is told with its date.
const SAME_DAY: Duration = Duration::from_hours(12);
/// One approval's facts, ready to print.
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) upstream: String,
    pub(super) agent: String,
    pub(super) client: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) rule: String,
    pub(super) risk: Option<String>,
    pub(super) ran_before: Option<String>,
    pub(super) decisions: Vec<String>,
    /// Warnings about names and reasons.
    pub(super) flags: Vec<String>,
    /// Warnings about the arguments, told where they are shown.
    pub(super) argument_flags: Vec<String>,
    /// None where they are not part of this message.
    pub(super) arguments: Option<String>,
    /// How much of them was left out.
    pub(super) left_out: Option<String>,
}

impl Facts {
    pub(super) fn of(letter: Letter<'_>, a: &Approval) -> Self {
        // A list's readers are unknown; a sensitive rule's calls are for its own reviewers.
        let for_list = letter.recipient.starts_with(LIST_PREFIX);
        let included = letter.notifier.include_arguments && !(for_list && a.terms.sensitive);
        let (arguments, left_out, argument_flags) = if included {
            let parts = masked_parts(letter, a);
            let flags = argument_flags(&parts).collect();
            let (shown, left_out) = cut(print(&parts));
            (Some(shown), left_out, flags)
        } else {
            (None, None, Vec::new())
        };
        Self {
            id: a.id.to_string(),
            tool: word(&a.call.title()),
            upstream: word(&a.call.upstream),
            agent: word(&a.agent),
            client: a.client.as_deref().map(|c| format!("{} (in its own words)", word(c))),
            reason: a.reason.as_deref().map(word),
            rule: word(&a.rule),
            risk: risk::in_words(a.risk, a.severity),
            ran_before: a
                .ran_before
                .map(|at| format!("an identical call ran {} ago", in_words(at.until(letter.now)))),
            decisions: a.decisions.iter().map(said).collect(),
            flags: name_flags(a),
            argument_flags,
            arguments,
            left_out,
        }
    }
}

/// A foreign word: visible, and of bounded length.
pub(super) fn word(text: &str) -> String {
    let mut shown = visible(&text.chars().take(MAX_WORD).collect::<String>());
    if text.chars().count() > MAX_WORD {
        shown.push('…');
    }
    shown
}

/// "in 30 minutes, at 14:05 UTC"; with the date where it is not the next few hours.
pub(crate) fn expiry_in_words(at: Timestamp, now: Timestamp) -> String {
    let left = now.until(at);
    if left.is_zero() {
        format!("now, at {}", at.clock_time())
    } else if left > SAME_DAY {
        let date: String = at.to_string().chars().take(10).collect();
        format!("in {}, at {date} {}", in_words(left), at.clock_time())
    } else {
        format!("in {}, at {}", in_words(left), at.clock_time())
    }
}

fn said(d: &crate::domain::approval::Decision) -> String {
    let verb = match d.choice {
        crate::domain::approval::Choice::Approve => "approved",
        crate::domain::approval::Choice::Reject => "rejected",
    };
    let (who, when) = (word(&d.reviewer), d.at.clock_time());
    let mut text = format!("{who} {verb} at {when} by {}", d.via.words());
    if !d.reason.is_empty() {
        text.push_str(": ");
        text.push_str(&word(&d.reason));
    }
    text
}

/// The arguments, and whatever else of the request is part of what would run; masked, raw JSON.
struct Parts {
    arguments: String,
    extra: Option<String>,
}

fn masked_parts(letter: Letter<'_>, a: &Approval) -> Parts {
    let masked = |raw: &str| letter.masker.mask(raw, &a.terms.redact);
    let params = json::parse(&a.call.params).ok();
    let extra = params.and_then(|params| a.call.method.further_members(&params));
    Parts { arguments: masked(&a.call.arguments()), extra: extra.map(|extra| masked(&extra)) }
}

fn print(parts: &Parts) -> String {
    // Masking writes valid JSON; if it ever did not, nothing is shown rather than the raw text.
    let shown = |masked: &str| {
        json::parse(masked).map_or_else(|_| "(unreadable)".to_owned(), |n| pretty(&n))
    };
    let mut text = shown(&parts.arguments);
    if let Some(extra) = &parts.extra {
        text.push_str("\n\nFurther members of the request:\n");
        text.push_str(&shown(extra));
    }
    text
}

/// Warnings about names and reasons whose letters pass for others.
fn name_flags(a: &Approval) -> Vec<String> {
    let mut words = vec![a.call.tool.as_str(), &a.call.upstream, &a.agent];
    words.extend(a.client.as_deref());
    words.extend(a.reason.as_deref());
    words.extend(a.end_reason.as_deref());
    words.extend(a.decisions.iter().map(|d| d.reason.as_str()));
    let mut flags: Vec<String> = words.into_iter().filter_map(mixed_script).collect();
    flags.dedup();
    flags
}

/// The same about what would be sent; about masked values nothing is said, it would repeat them.
fn argument_flags(parts: &Parts) -> impl Iterator<Item = String> {
    let inside = |masked: &str| json::parse(masked).ok().and_then(|n| mixed_script_in(&n));
    [inside(&parts.arguments), parts.extra.as_deref().and_then(inside)].into_iter().flatten()
}

/// At most [`MAX_ARGUMENTS`] bytes of it, and a line saying what is missing.
fn cut(mut text: String) -> (String, Option<String>) {
    if text.len() <= MAX_ARGUMENTS {
        return (text, None);
    }
    let at = (0..=MAX_ARGUMENTS).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let left_out = text[at..].chars().count();
    text.truncate(at);
    text.push('…');
    (text, Some(format!("{left_out} more characters are left out here; the page shows all of it.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_told_in_words() {
        let now = Timestamp::from_micros(1_795_354_500_000_000);
        let after = |s| expiry_in_words(now.plus(Duration::from_secs(s)), now);

        assert_eq!(after(1_800), "in 30 minutes, at 14:05 UTC");
        assert_eq!(after(2 * 86_400), "in 2 days, at 2026-11-24 13:35 UTC");
        assert_eq!(after(0), "now, at 13:35 UTC");
    }

    #[test]
    fn arguments_are_cut_at_the_named_limit_between_characters() {
        let (whole, none) = cut("ä".repeat(MAX_ARGUMENTS / 2));
        let (shown, left_out) = cut(format!("x{}", "ä".repeat(MAX_ARGUMENTS / 2)));

        assert_eq!((whole.len(), none), (MAX_ARGUMENTS, None));
        assert_eq!(shown.len(), MAX_ARGUMENTS - 1 + '…'.len_utf8());
        assert!(left_out.unwrap().starts_with("1 more characters are left out"));
    }

    #[test]
    fn words_are_bounded_and_visible() {
        assert_eq!(word("a\u{202e}b\r\nc"), "a⟦U+202E⟧b⟦U+000D⟧⟦U+000A⟧c");
        assert_eq!(word(&"x".repeat(MAX_WORD + 1)).chars().count(), MAX_WORD + 1);
        assert!(word(&"x".repeat(MAX_WORD + 1)).ends_with('…'));
    }
}
