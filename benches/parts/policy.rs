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
    group.finish();
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
