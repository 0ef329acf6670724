//! Figures of this process, printed by `/metrics`. What the store can count is not counted here,
//! so that several brokers don't disagree about it.
#![warn(missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

/// Upper bounds of the decision time's buckets, seconds.
const DECISION_BUCKETS: [f64; 10] =
    [5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];

/// Most pairs of upstream and verdict that are counted; a call of a further pair is not counted.
const MAX_SERIES: usize = 1_024;

/// Counters of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: BTreeMap<(String, String), u64>,
    decision_buckets: [u64; DECISION_BUCKETS.len()],
    decision_sum: f64,
    decision_count: u64,
}

impl Metrics {
    /// Counts a call; `verdict` is `allow`, `deny`, `require_approval`, `rate_limited` or another
    /// stable word.
    pub fn call(&self, upstream: &str, verdict: &str) {
        let mut inner = self.lock();
        let key = (upstream.to_owned(), verdict.to_owned());
        if inner.calls.len() < MAX_SERIES || inner.calls.contains_key(&key) {
            *inner.calls.entry(key).or_default() += 1;
        }
    }

    /// Records how long reviewers took, in seconds.
    pub fn decision_seconds(&self, seconds: f64) {
        let mut inner = self.lock();
        for (bound, count) in DECISION_BUCKETS.iter().zip(&mut inner.decision_buckets) {
            if seconds <= *bound {
                *count += 1;
            }
        }
        inner.decision_sum += seconds;
        inner.decision_count += 1;
    }

    /// Writes these counters in the text format of Prometheus.
    pub fn render(&self, out: &mut String) {
        let inner = self.lock();
        head(out, "placet_calls_total", "counter", "Tool calls by upstream and verdict.");
        for ((upstream, verdict), count) in &inner.calls {
            sample(
                out,
                "placet_calls_total",
                &[("upstream", upstream), ("verdict", verdict)],
                &count.to_string(),
            );
        }
        let name = "placet_decision_seconds";
        head(out, name, "histogram", "Time from a call to its approval or rejection.");
        let bucket = format!("{name}_bucket");
        for (bound, count) in DECISION_BUCKETS.iter().zip(&inner.decision_buckets) {
            sample(out, &bucket, &[("le", &bound.to_string())], &count.to_string());
        }
        sample(out, &bucket, &[("le", "+Inf")], &inner.decision_count.to_string());
        sample(out, &format!("{name}_sum"), &[], &inner.decision_sum.to_string());
        sample(out, &format!("{name}_count"), &[], &inner.decision_count.to_string());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

/// Writes a metric's `HELP` and `TYPE` lines.
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Writes one sample line: the metric's name, its labels with values escaped, the value.
pub(crate) fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: &str) {
    out.push_str(name);
    if !labels.is_empty() {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let _ = write!(out, "{{{}}}", labels.join(","));
    }
    let _ = writeln!(out, " {value}");
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_buckets_are_printed_as_prometheus_text() {
        let metrics = Metrics::default();
        metrics.call("images", "allow");
        metrics.call("images", "allow");
        metrics.decision_seconds(20.0);

        let mut text = String::new();
        metrics.render(&mut text);

        assert!(text.contains("placet_calls_total{upstream=\"images\",verdict=\"allow\"} 2\n"));
        assert!(text.contains("placet_decision_seconds_bucket{le=\"15\"} 0\n"));
        assert!(text.contains("placet_decision_seconds_bucket{le=\"30\"} 1\n"));
        assert!(text.contains("placet_decision_seconds_sum 20\n"));
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let metrics = Metrics::default();
        for i in 0..=MAX_SERIES {
            metrics.call(&i.to_string(), "allow");
        }

        assert_eq!(metrics.lock().calls.len(), MAX_SERIES);
    }

    #[test]
    fn labels_can_not_break_out_of_their_quotes() {
        let mut text = String::new();
        sample(&mut text, "m", &[("l", "a\"}\n\\")], "1");

        assert_eq!(text, "m{l=\"a\\\"}\\n\\\\\"} 1\n");
    }
}
