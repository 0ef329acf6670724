//! The exact tree and the digest of a call, and an ordinary parse of the same text.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use placet::domain::call::ToolCall;
use placet::domain::json;

use crate::report::{Report, Times};
use crate::world::{Fallible, UPSTREAM};

/// Samples of each kind; the middle one counts.
const SAMPLES: usize = 15;
/// Least length of a sample.
const SAMPLE: Duration = Duration::from_millis(15);

/// Its name, what is done with the text, and how long that took.
type Kind = (&'static str, fn(&str), Times);

/// Measures.
pub fn measure(report: &mut Report) -> Fallible<()> {
    let documents = [
        ("reading a call, small arguments", params(0)),
        ("reading a call, medium arguments", params(60)),
        ("reading a call, large arguments", params(1_500)),
    ];
    for (part, text) in &documents {
        let text = text.as_str();
        ToolCall::read(UPSTREAM, text)?;
        let mut kinds: [Kind; 3] = [
            ("serde_json::Value", |t| drop(black_box(as_value(t))), Times::default()),
            ("exact tree", |t| drop(black_box(json::parse(t))), Times::default()),
            (
                "exact tree, canonical form, digest, own copy",
                |t| drop(black_box(as_call(t))),
                Times::default(),
            ),
        ];
        for _ in 0..SAMPLES {
            for (_, work, times) in &mut kinds {
                times.push(sample(*work, text));
            }
        }
        report.add(part, "size", f64::from(u32::try_from(text.len())?) / 1024.0, "KiB");
        let base = kinds[0].2.median();
        for (name, _, times) in &kinds {
            let to = ("serde_json::Value", base);
            report.add_ratio(part, name, times.median() * 1e3, "µs", (to.0, to.1 * 1e3));
        }
    }
    Ok(())
}

fn as_value(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok()
}

fn as_call(text: &str) -> Option<ToolCall> {
    ToolCall::read(UPSTREAM, text).ok()
}

/// Mean time of one run.
fn sample(work: fn(&str), text: &str) -> Duration {
    let begun = Instant::now();
    let mut runs = 0_u32;
    while begun.elapsed() < SAMPLE {
        for _ in 0..8 {
            work(black_box(text));
        }
        runs += 8;
    }
    begun.elapsed() / runs
}

/// A call with so many records besides its plain arguments.
fn params(records: usize) -> String {
    let mut list = String::new();
    for n in 0..records {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(
            list,
            r#"{comma}{{"id":"img-{n:05}","size":{n}.50,"tags":["CT","thorax \u00e4"],"kept":true,"note":"Line one\nline two of record {n}."}}"#
        );
    }
    format!(
        r#"{{"name":"delete_image_set","arguments":{{"image_set_id":"7f3a","datastore_id":"hospital-main","force":false,"records":[{list}]}}}}"#
    )
}
