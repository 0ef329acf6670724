//! The answers to calls that are over a limit of their rule: one that is free again later, or one
//! that such a call never passes.

use std::time::Duration;

use crate::domain::policy::{Limit, NotCounted, Rule, Window};
use crate::domain::quantity::Quantity;
use crate::domain::time::in_words;
use crate::store::counters::{Draw, Over};

use super::answer::{Code, Statement};

/// A counter has too little left for this call.
pub(super) fn reached(title: &str, rule: &Rule, draws: &[Draw], over: &Over) -> Statement {
    let counted = rule.limits.iter().filter(|limit| limit.window != Window::Call);
    let (Some(limit), Some(draw)) = (counted.into_iter().nth(over.draw), draws.get(over.draw))
    else {
        return Statement::new(Code::Unavailable, "Not executed. A limit could not be counted.");
    };
    let wait = in_words(Duration::from_millis(over.frees_in_ms.max(500)));
    let (pointer, max, used) = (&limit.pointer, &limit.max, over.used);
    let text = format!(
        "Not executed. {title} has reached a limit (rule {pointer}): {used} of at most {max} are used \
         {}, {}, counting {}, and this call counts {}.{} Call it again in {wait}.",
        limit.window,
        limit.scope.whose(),
        limit.counts(),
        draw.amount,
        said(limit),
    );
    let statement = Statement::new(Code::RateLimited, &text).by_rule(pointer);
    statement.because(limit.on_deny.clone()).retry_after(over.frees_in_ms)
}

/// One call that is more than may ever pass.
pub(super) fn too_much(title: &str, rule: &Rule, limit: usize, amount: Quantity) -> Statement {
    let limit = &rule.limits[limit];
    let (pointer, max) = (&limit.pointer, &limit.max);
    let text = format!(
        "Not executed. {title} counts {amount} by itself, and at most {max} may pass {} (rule \
         {pointer}, counting {}).{} Waiting does not help: this call never passes. Ask for less, or \
         tell your user.",
        limit.window,
        limit.counts(),
        said(limit),
    );
    let reason = reason(limit, || format!("one call counts {amount}, and at most {max} may pass"));
    Statement::new(Code::PolicyDenied, &text).by_rule(pointer).because(Some(reason))
}

/// It can't be told how much the call counts.
pub(super) fn not_counted(title: &str, rule: &Rule, why: &NotCounted) -> Statement {
    let Some(limit) = rule.limits.get(why.limit) else {
        return Statement::new(Code::PolicyDenied, "Not executed. A limit could not be counted.");
    };
    let (pointer, what) = (&limit.pointer, &why.why);
    let text = format!(
        "Not executed. {title} is limited (rule {pointer}, counting {}), and {what}, so that it can't \
         be told how much this call counts.{} Waiting does not help: give it, as a value that is not \
         negative and can be counted exactly, or tell your user.",
        limit.counts(),
        said(limit),
    );
    let reason = reason(limit, || what.clone());
    Statement::new(Code::PolicyDenied, &text).by_rule(pointer).because(Some(reason))
}

fn reason(limit: &Limit, otherwise: impl Fn() -> String) -> String {
    limit.on_deny.clone().unwrap_or_else(otherwise)
}

/// What the policy says to whom it refuses, as a sentence behind a blank.
fn said(limit: &Limit) -> String {
    let text = limit.on_deny.as_deref().map(|text| text.trim_end_matches('.'));
    text.map_or_else(String::new, |text| format!(" {text}."))
}
