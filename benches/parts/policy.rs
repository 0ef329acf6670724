//! The verdict of a policy of fifty tools, and the class of a tool.

use std::hint::black_box;

use criterion::Criterion;
use placet::domain::call::ToolCall;
use placet::domain::classify::Classified;
use placet::domain::policy::Policy;

const TOOLS: usize = 50;

/// Policies without and with conditions on the tool that is called.
pub(crate) fn judge(criterion: &mut Criterion) {
    let call = r#"{"name":"get_image_set_49","arguments":{"datastore_id":"hospital-main","image_set_id":"7f3a"}}"#;
    let call = ToolCall::read("archive", call).unwrap();
    let mut group = criterion.benchmark_group("policy of 50 tools");
    for conditions in [0, 1, 50] {
        let (policy, _) = Policy::read(&text(conditions)).unwrap();
        group.bench_function(format!("{conditions} conditions"), |bencher| {
            bencher.iter(|| policy.judge("agent-1", black_box(&call), None));
        });
    }
    let checked = Policy::read(CHECKED).map_err(|problems| format!("{problems:?}"));
    let (checked, _) = checked.unwrap();
    group.bench_function("preconditions of a tool and of all", |bencher| {
        bencher.iter(|| checked.judge("agent-1", black_box(&call), None));
    });
    group.finish();
    let (many, _) = Policy::read(&matches(1_000)).unwrap();
    criterion.bench_function("policy of 1,000 patterns, of which the last fits", |bencher| {
        bencher.iter(|| many.judge("agent-1", black_box(&call), None));
    });
}

/// A tool that is asked about where it is not the usual data store, and what must hold for it.
const CHECKED: &str = r#"{"version":"1","default":"deny",
    "all_tools":{"deny_if":[{"conditions":[{"path":"args.force","op":"eq","value":true}]}]},
    "tools":{"get_image_set_49":{"action":"require_approval",
        "require":[{"path":"args.image_set_id","op":"regex","value":"^[0-9a-f]+$"}],
        "deny_if":[{"conditions":[{"path":"args.datastore_id","op":"in","value":["a","b"]}]}],
        "approval":{"when":[{"path":"args.datastore_id","op":"neq","value":"hospital-main"}]}}}}"#;

/// So many entries of `match`, each with a pattern and an agent.
fn matches(count: usize) -> String {
    let entry = |n: usize| {
        let pattern =
            if n + 1 == count { "get_*_set_*".to_owned() } else { format!("put_*_{n}_*") };
        format!(r#"{{"tools":["{pattern}"],"agents":["agent-*"],"action":"allow"}}"#)
    };
    let entries: Vec<String> = (0..count).map(entry).collect();
    format!(r#"{{"version":"1","default":"deny","match":[{}]}}"#, entries.join(","))
}

/// What is read of a tool's definition when the list comes.
pub(crate) fn classify(criterion: &mut Criterion) {
    let tool = r#"{"name":"delete_image_set","description":"Delete an image set and all its frames. This cannot be undone.","inputSchema":{"type":"object","properties":{"datastore_id":{"type":"string"},"image_set_id":{"type":"string"},"operation":{"type":"string","enum":["delete","archive"]},"force":{"type":"boolean"}}}}"#;
    criterion.bench_function("class of a tool", |bencher| {
        bencher.iter(|| Classified::of(black_box(tool), false));
    });
}

/// Every tool with so many conditions, none of which asks about the call.
fn text(conditions: usize) -> String {
    let when: Vec<String> = (0..conditions)
        .map(|n| format!(r#"{{"path":"args.datastore_id","op":"eq","value":"other-{n}"}}"#))
        .collect();
    let rule = if when.is_empty() {
        r#"{"action":"allow"}"#.to_owned()
    } else {
        let when = when.join(",");
        format!(r#"{{"action":"require_approval","approval":{{"when":[{when}]}}}}"#)
    };
    let tools: Vec<String> = (0..TOOLS).map(|n| format!(r#""get_image_set_{n}":{rule}"#)).collect();
    format!(r#"{{"version":"1","default":"deny","tools":{{{}}}}}"#, tools.join(","))
}
