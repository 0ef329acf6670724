//! What is kept long enough: history must outlast everything that still counts in it.

use std::time::Duration;

use crate::config::Approvals;
use crate::config::reader::Reader;
use crate::domain::duration::shown;
use crate::domain::policy::Rule;

const KEY: &str = "approvals.history_retention";

/// Notes each setting that counts in ended approvals for longer than they are kept.
pub(super) fn check(reader: &Reader<'_>, approvals: &Approvals) {
    let kept = approvals.history_retention;
    for (key, length, lost) in [
        (
            "approvals.result_retention",
            approvals.result_retention,
            "an end that is owed to the agent would be deleted, and its identical call asked anew \
             though it may have run",
        ),
        (
            "approvals.cooldown",
            approvals.cooldown,
            "a rejection would be forgotten before its cooldown is over",
        ),
        (
            "approvals.max_new_per_agent.window",
            approvals.max_new_per_agent.window,
            "approvals that still count in the window would be deleted",
        ),
    ] {
        // What could not be read is noted already, and is zero here.
        if kept < length && !kept.is_zero() {
            reader.error(
                KEY,
                format!(
                    "is {}, shorter than {key}, {}: {lost}; make {KEY} at least {1}, or {key} \
                     shorter",
                    shown(kept),
                    shown(length)
                ),
            );
        }
    }
}

/// What is wrong with a rule's own cooldown: where it stands below the rule, and a message.
pub(super) fn of_rule(approvals: &Approvals, rule: &Rule) -> Option<(String, String)> {
    let (kept, cooldown) = (approvals.history_retention, rule.approval.cooldown?);
    (kept < cooldown && kept > Duration::ZERO).then(|| {
        let message = format!(
            "is {}, longer than {KEY}, {}: a rejection would be forgotten before its cooldown is \
             over; make it shorter, or {KEY} at least {0}",
            shown(cooldown),
            shown(kept)
        );
        (format!("{}/cooldown", rule.terms_pointer()), message)
    })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, Problem};

    /// The errors about retention, each as `key: message`.
    fn errors(approvals: &str, policy: &str) -> Vec<String> {
        let text = format!(
            "[approvals]\n{approvals}\n[[upstreams]]\nname = \"u\"\nurl = \"http://127.0.0.1:1\"\n\
             [upstreams.policy]\nversion = \"1\"\n{policy}"
        );
        let problems: Vec<Problem> = match Config::read(&text, None, &Environment::new()) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        let about = problems.into_iter().filter(|p| p.message.contains("history_retention"));
        about.map(|p| format!("{}: {}", p.key, p.message)).collect()
    }

    #[test]
    fn history_shorter_than_what_it_owes_is_refused_with_both_keys_and_values() {
        for (approvals, other, values) in [
            (
                "history_retention = \"1h\"\nresult_retention = \"2h\"",
                "approvals.result_retention",
                ["1h", "2h"],
            ),
            (
                "history_retention = \"1h\"\nresult_retention = \"30m\"\ncooldown = \"3h\"",
                "approvals.cooldown",
                ["1h", "3h"],
            ),
            (
                "history_retention = \"5m\"\nresult_retention = \"1m\"\ncooldown = \"1m\"",
                "approvals.max_new_per_agent.window",
                ["5m", "10m"],
            ),
        ] {
            let found = errors(approvals, "");

            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("approvals.history_retention: is "), "{found:?}");
            assert!(found[0].contains(other), "{found:?}");
            assert!(values.iter().all(|value| found[0].contains(value)), "{found:?}");
        }
    }

    #[test]
    fn a_rules_own_cooldown_longer_than_history_is_refused_at_its_place() {
        let policy = "[upstreams.policy.tools.x]\naction = \"require_approval\"\n\
                      approval = { cooldown = \"30d\" }";

        let found = errors("history_retention = \"7d\"", policy);

        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("/tools/x/approval/cooldown: is 30d"), "{found:?}");
        assert!(found[0].contains("approvals.history_retention, 7d"), "{found:?}");
        assert_eq!(errors("history_retention = \"30d\"", policy), [""; 0]);
    }

    #[test]
    fn history_exactly_as_long_as_what_it_owes_is_enough() {
        let equal = "history_retention = \"24h\"\nresult_retention = \"24h\"\ncooldown = \"24h\"";

        assert_eq!(errors(equal, ""), [""; 0]);
    }
}
