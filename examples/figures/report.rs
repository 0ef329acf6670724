//! What was measured, as a table for people and as JSON for programs.

use std::time::Duration;

use serde_json::{Value, json};

/// One figure.
struct Row {
    part: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    /// Against which figure of the same run, and how many times as much.
    ratio: Option<(String, f64)>,
}

/// All figures of a run, in order.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure that stands alone.
    pub fn add(&mut self, part: &'static str, what: &str, value: f64, unit: &'static str) {
        self.rows.push(Row { part, what: what.to_owned(), value, unit, ratio: None });
    }

    /// Adds a figure with its ratio to `base`, which is called `to`.
    pub fn add_ratio(
        &mut self,
        part: &'static str,
        what: &str,
        value: f64,
        unit: &'static str,
        (to, base): (&str, f64),
    ) {
        let ratio = (base > 0.0).then(|| (to.to_owned(), value / base));
        self.rows.push(Row { part, what: what.to_owned(), value, unit, ratio });
    }

    /// Columns, aligned.
    pub fn to_table(&self) -> String {
        let width = self.rows.iter().map(|r| r.what.chars().count()).max().unwrap_or(0);
        let mut out = header();
        let mut part = "";
        for row in &self.rows {
            if row.part != part {
                part = row.part;
                out.push_str(&format!("\n{part}\n"));
            }
            let ratio = row
                .ratio
                .as_ref()
                .map_or_else(String::new, |(to, ratio)| format!("  {ratio:>8.2} x {to}"));
            let line = format!("  {:width$}  {:>10.3} {:<6}{ratio}", row.what, row.value, row.unit);
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// One object: the machine, and the rows.
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "part": row.part, "what": row.what, "value": row.value, "unit": row.unit,
                    "ratio": row.ratio.as_ref().map(|(_, ratio)| ratio),
                    "ratio_to": row.ratio.as_ref().map(|(to, _)| to),
                })
            })
            .collect();
        json!({
            "cores": cores(), "arch": std::env::consts::ARCH,
            "optimized": !cfg!(debug_assertions), "rows": rows
        })
    }
}

fn header() -> String {
    let build = if cfg!(debug_assertions) { "unoptimized build" } else { "release build" };
    format!("{} cores, {}, {build}\n", cores(), std::env::consts::ARCH)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Times of the same thing done again and again.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that so many of a hundred stay below, in milliseconds; 0 without any.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(0.0, |time| ms(*time))
    }

    /// The middle one, in milliseconds.
    pub fn median(&self) -> f64 {
        self.percentile(50)
    }
}
