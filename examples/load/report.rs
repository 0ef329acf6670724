//! What was measured, as a table for people and as JSON for programs.

use std::time::Duration;

use serde_json::{Value, json};

/// One line: what was measured, and of whom.
struct Row {
    part: String,
    what: String,
    unit: &'static str,
    cells: Vec<(String, f64)>,
}

/// All figures of a run, in order.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a line with a figure of each that was measured.
    pub fn add(&mut self, part: &str, what: &str, unit: &'static str, cells: Vec<(String, f64)>) {
        self.rows.push(Row { part: part.to_owned(), what: what.to_owned(), unit, cells });
    }

    /// Columns, aligned, a table for each part.
    pub fn to_table(&self) -> String {
        let width = self.rows.iter().map(|r| r.what.chars().count()).max().unwrap_or(0);
        let mut out = header();
        for part in distinct(self.rows.iter().map(|row| row.part.as_str())) {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.part == part).collect();
            let names = distinct(rows.iter().flat_map(|r| r.cells.iter().map(|c| c.0.as_str())));
            out.push_str(&format!("\n{part}\n  {:width$}       ", ""));
            for name in &names {
                out.push_str(&format!(" {name:>12}"));
            }
            out.push('\n');
            for row in rows {
                out.push_str(&format!("  {:width$} {:<6}", row.what, row.unit));
                for name in &names {
                    let cell = row.cells.iter().find(|cell| cell.0 == *name);
                    let text = cell.map_or_else(String::new, |(_, value)| figure(*value));
                    out.push_str(&format!(" {text:>12}"));
                }
                out.truncate(out.trim_end().len());
                out.push('\n');
            }
        }
        out
    }

    /// One object: the machine, and the rows.
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let cells: serde_json::Map<String, Value> =
                    row.cells.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                json!({ "part": row.part, "what": row.what, "unit": row.unit, "of": cells })
            })
            .collect();
        json!({
            "cores": cores(), "arch": std::env::consts::ARCH, "load": load(),
            "optimized": !cfg!(debug_assertions), "rows": rows
        })
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// As many digits as say something.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn header() -> String {
    let build = if cfg!(debug_assertions) { "unoptimized build" } else { "release build" };
    let load = load();
    format!("{} cores, {}, {build}, load of the machine {load}\n", cores(), std::env::consts::ARCH)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// How many wanted a processor in the last minute; this run is among them.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The middle one; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 || values.is_empty() {
        return upper;
    }
    f64::midpoint(upper, values[values.len() / 2 - 1])
}

/// Times of the same thing done again and again.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// All of another's.
    pub fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
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
