//! Slips of the pen, each told with what was probably meant.

use super::*;

/// `name` and the `inputSchema` of each tool.
const TOOLS: [(&str, &str); 6] = [
    ("read_file", r#"{"type":"object","properties":{"path":{"type":"string"}}}"#),
    (
        "write_file",
        r##"{"type":"object","properties":{
            "path":{"type":"string"},"content":{"type":"string"},
            "options":{"type":"object","properties":{"force":{"type":"boolean"}}},
            "labels":{"type":"object","additionalProperties":{"type":"string"}},
            "parts":{"type":["array","null"],"items":{"type":"object","properties":{"size":{}}}},
            "free":{"type":"object"},"either":{"anyOf":[{"type":"string"},{"type":"null"}]},
            "there":{"$ref":"#/$defs/There"}}}"##,
    ),
    ("deleteImageSet", r#"{"type":"object","properties":{},"additionalProperties":false}"#),
    ("open_ended", r#"{"type":"object","properties":{"a":{}},"additionalProperties":true}"#),
    ("by_reference", r##"{"$ref":"#/$defs/Input","properties":{"a":{}}}"##),
    ("without_schema", ""),
];

/// Place and message of each misfit of this policy, without `version`.
fn misfits(policy: &str) -> Vec<(String, String)> {
    misfits_of(policy, &TOOLS)
}

fn misfits_of(policy: &str, tools: &[(&str, &str)]) -> Vec<(String, String)> {
    let (policy, _) = Policy::read(&format!(r#"{{"version":"1",{policy}}}"#)).unwrap();
    let definitions: Vec<String> = tools
        .iter()
        .map(|(name, schema)| match *schema {
            "" => format!(r#"{{"name":"{name}"}}"#),
            schema => format!(r#"{{"name":"{name}","inputSchema":{schema}}}"#),
        })
        .collect();
    let tools: Vec<_> = tools
        .iter()
        .zip(&definitions)
        .map(|((name, _), definition)| Listed { name, definition })
        .collect();
    let found = policy.misfits(&tools);
    assert!(found.iter().all(|problem| problem.warning));
    found.into_iter().map(|problem| (problem.place, problem.message)).collect()
}

/// The one misfit.
fn misfit(policy: &str) -> (String, String) {
    let mut found = misfits(policy);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn when(path: &str) -> String {
    format!(
        r#""action":"require_approval","approval":{{"when":[{{"path":{path:?},"op":"eq","value":1}}]}}"#
    )
}

/// What is said of a condition of that tool's entry.
fn said_of(tool: &str, path: &str) -> Option<String> {
    let mut found = misfits(&format!(r#""tools":{{"{tool}":{{{}}}}}"#, when(path)));
    assert!(found.len() < 2, "{found:?}");
    let (place, message) = found.pop()?;
    assert_eq!(place, format!("/tools/{tool}/approval/when/0/path"));
    Some(message)
}

#[test]
fn an_entry_whose_tool_is_not_listed_is_told_with_the_nearest_name() {
    let (place, message) = misfit(r#""tools":{"write_fle":{"action":"allow"}}"#);

    assert_eq!(place, "/tools/write_fle");
    assert_eq!(
        message,
        r#""write_fle" fits no tool that the upstream lists; did you mean "write_file"?"#
    );
    for (written, meant) in [
        ("WriteFile", "write_file"),
        ("write-file", "write_file"),
        ("wirte_file", "write_file"),
        ("delete_image_set", "deleteImageSet"),
        ("delete_image_sets", "deleteImageSet"),
    ] {
        let (_, message) = misfit(&format!(r#""tools":{{"{written}":{{"action":"deny"}}}}"#));
        assert!(message.ends_with(&format!("did you mean {meant:?}?")), "{message}");
    }
    let (_, message) = misfit(r#""tools":{"frobnicate":{"action":"deny"}}"#);
    assert_eq!(message, r#""frobnicate" fits no tool that the upstream lists"#);
}

#[test]
fn a_pattern_of_hide_or_match_that_fits_no_tool_is_told_at_its_own_place() {
    let policy = r#""hide":["read_*","delte*","open_endde"],
        "match":[{"tools":["*_file","*_flie","nothing_?"],"action":"deny"}]"#;

    let found = misfits(policy);

    let said = |place: &str, message: &str| (place.to_owned(), message.to_owned());
    let none = "fits no tool that the upstream lists";
    assert_eq!(
        found,
        [
            said("/hide/1", &format!(r#""delte*" {none}; the nearest name is "deleteImageSet""#)),
            said("/hide/2", &format!(r#""open_endde" {none}; did you mean "open_ended"?"#)),
            said(
                "/match/0/tools/1",
                &format!(r#""*_flie" {none}; the nearest name is "read_file""#)
            ),
            said("/match/0/tools/2", &format!(r#""nothing_?" {none}"#)),
        ]
    );
}

#[test]
fn what_fits_a_tool_is_not_told_hidden_or_not() {
    let policy = r#""hide":["read_file","*","{open,by}_*","[d]elete*"],
        "tools":{"read_file":{"action":"allow"}},
        "match":[{"tools":["*_file","write?file"],"action":"deny"},
                 {"agents":["nobody"],"action":"deny"},{"risk":["financial"],"action":"deny"}]"#;

    assert_eq!(misfits(policy), []);
}

#[test]
fn a_name_of_glob_characters_fits_itself() {
    assert_eq!(misfits_of(r#""hide":["a[1]","b{x}"]"#, &[("a[1]", ""), ("b{x}", "")]), []);
}

#[test]
fn a_condition_path_whose_key_is_no_property_is_told_with_the_nearest() {
    let message = said_of("write_file", "args.pth").unwrap();

    assert_eq!(
        message,
        r#""args.pth" leads nowhere, which counts as a match: "pth" is no property by the inputSchema of "write_file"; did you mean "path"?"#
    );
    assert!(
        said_of("write_file", "args.options.froce").unwrap().contains("did you mean \"force\"?")
    );
    assert!(said_of("write_file", "args.parts[*].siz").unwrap().contains("did you mean \"size\"?"));
    assert!(said_of("deleteImageSet", "args.id").unwrap().contains("\"id\" is no property"));
    let (_, message) = misfit(
        r#""tools":{"read_file":{"action":"require_approval","approval":{"when":[
            {"path":"args.pth","op":"exists","value":true}]}}}"#,
    );
    assert!(message.starts_with(r#""args.pth" leads nowhere: "#), "{message}");
}

#[test]
fn a_condition_path_through_another_type_is_told() {
    let message = said_of("write_file", "args.path.name").unwrap();
    assert!(message.contains(r#"through what is of type "string""#), "{message}");
    assert!(said_of("write_file", "args.path[0]").is_some());
    assert!(said_of("write_file", "args.parts.size").unwrap().contains("\"array or null\""));
    assert!(said_of("write_file", "args[0]").is_some());
}

#[test]
fn nothing_is_said_of_a_path_that_is_there_or_that_the_schema_leaves_open() {
    for (tool, path) in [
        ("write_file", "args"),
        ("write_file", "args.path"),
        ("write_file", "args.options.force"),
        ("write_file", "args.parts[*].size.deep"),
        ("write_file", "args.parts[0].size"),
        ("write_file", "args.labels.anything"),
        ("write_file", "args.free.anything"),
        ("write_file", "args.either.anything"),
        ("write_file", "args.there.anything"),
        ("write_file", "agent.name"),
        ("open_ended", "args.b"),
        ("by_reference", "args.b"),
        ("without_schema", "args.b"),
    ] {
        assert_eq!(said_of(tool, path), None, "{tool}: {path}");
    }
    assert!(said_of("write_file", "args.labels.a.b").is_some(), "labels are strings");
}

#[test]
fn a_condition_of_a_match_is_told_only_where_none_of_its_tools_has_the_place() {
    let of = |tools: &str, path: &str, more: &str| {
        misfits(&format!(r#"{more}"match":[{{"tools":{tools},{}}}]"#, when(path)))
    };

    assert_eq!(of(r#"["*_file"]"#, "args.content", ""), [], "one of them has it");
    let found = of(r#"["*_file"]"#, "args.pathh", "");
    assert_eq!(found[0].0, "/match/0/approval/when/0/path");
    assert!(
        found[0]
            .1
            .contains(r#"of "read_file" and of the other tool it fits; did you mean "path"?"#)
    );
    assert_eq!(of(r#"["*"]"#, "args.pathh", ""), [], "some of them may have it");
    // Its own entry decides of the one that has it.
    let own = r#""tools":{"write_file":{"action":"deny"}},"#;
    assert!(
        of(r#"["*_file"]"#, "args.content", own)[0].1.contains(r#"inputSchema of "read_file""#)
    );
    assert_eq!(of(r#"["*_file"]"#, "args.content", r#""hide":["*_file"],"#), []);
}

#[test]
fn names_that_could_mislead_are_told_escaped() {
    let tools = [("write\u{202e}_file", "")];

    let found = misfits_of(r#""tools":{"write_file":{"action":"deny"}}"#, &tools);

    assert!(found[0].1.contains(r"write\u{202e}_file"), "{found:?}");
}

#[test]
fn a_policy_of_a_thousand_slips_is_read_against_ten_thousand_tools() {
    let names: Vec<String> = (0..10_000).map(|i| format!("tool_number_{i:05}_of_many")).collect();
    let schema = r#"{"type":"object","properties":{"path":{"type":"string"}}}"#;
    let tools: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), schema)).collect();
    let entries = |of: &dyn Fn(usize) -> String| (0..500).map(of).collect::<Vec<_>>().join(",");
    let policy = format!(
        r#""tools":{{{}}},"match":[{}]"#,
        entries(&|i| format!(r#""tool_numbr_{i:05}_of_many":{{"action":"deny"}}"#)),
        entries(&|i| format!(r#"{{"tools":["*numbr_{i:05}*","tool*"],{}}}"#, when("args.pth"))),
    );

    let found = misfits_of(&policy, &tools);

    let of = |what: &str| found.iter().filter(|(place, _)| place.contains(what)).count();
    assert_eq!((of("/tools/tool_"), of("/tools/0")), (500, 500));
    assert!(found[0].1.ends_with("did you mean \"tool_number_00000_of_many\"?"));
    // What is left over is told without a nearest name, or not at all.
    assert_eq!(found.iter().filter(|(place, _)| place.ends_with("/path")).count(), 10);
}

#[test]
fn a_limit_that_looks_where_nothing_is_would_refuse_every_call() {
    let (place, message) = misfit(
        r#""tools":{"write_file":{"action":"allow","limits":[
            {"max":5,"per":"1h"},{"max":5,"per":"1h","sum_of":"args.sise"}]}}"#,
    );

    assert_eq!(place, "/tools/write_file/limits/1");
    assert!(
        message.contains(r#""args.sise" leads nowhere, so that every call is refused"#),
        "{message}"
    );
}
