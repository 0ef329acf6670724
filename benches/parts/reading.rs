//! Reading messages exactly, and writing into them.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use placet::domain::call::{ToolCall, params_with_meta};
use placet::domain::json;

/// Records in the arguments of a call: about 0.1, 7 and 174 KiB.
const SIZES: [(&str, usize); 3] = [("small", 0), ("medium", 60), ("large", 1_500)];

/// A whole message, as it comes over the wire.
pub(crate) fn envelope(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope");
    for (name, records) in SIZES {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}}"#,
            params(records)
        );
        assert!(placet::mcp::is_message(body.as_bytes()));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| placet::mcp::is_message(black_box(body.as_bytes())));
        });
    }
    group.finish();
}

/// The exact tree, its canonical form and digest; beside an ordinary parse of the same text, which
/// does less: it rounds numbers, and takes the last of two equal keys.
pub(crate) fn digest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for (name, records) in SIZES {
        let text = params(records);
        ToolCall::read("archive", &text).unwrap();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("{name}, tree, canonical form and digest"), |bencher| {
            bencher.iter(|| ToolCall::read("archive", black_box(&text)));
        });
        group.bench_function(format!("{name}, tree"), |bencher| {
            bencher.iter(|| json::parse(black_box(&text)));
        });
        group.bench_function(format!("{name}, serde_json::Value"), |bencher| {
            bencher.iter(|| serde_json::from_str::<serde_json::Value>(black_box(&text)));
        });
    }
    group.finish();
}

/// Members put into `_meta`, where everything else stays byte for byte.
pub(crate) fn splice(criterion: &mut Criterion) {
    let meta = [
        ("io.modelcontextprotocol/protocolVersion", "\"2026-07-28\"".to_owned()),
        ("io.modelcontextprotocol/clientCapabilities", "{}".to_owned()),
        ("io.modelcontextprotocol/clientInfo", r#"{"name":"placet","version":"1"}"#.to_owned()),
    ];
    let mut group = criterion.benchmark_group("splice");
    for (name, records) in SIZES {
        let text = params(records);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| params_with_meta(black_box(&text), black_box(&meta)));
        });
    }
    group.finish();
}

/// The `params` of a call with so many records besides its plain arguments.
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
        r#"{{"name":"delete_image_set","arguments":{{"image_set_id":"7f3a","datastore_id":"hospital-main","force":false,"records":[{list}]}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}"#
    )
}
