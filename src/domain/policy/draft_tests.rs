//! What a drafted policy says, and what it does when it is obeyed.

use super::draft::{Draft, ListedTool, draft, update};
use super::{Policy, Verdict};
use crate::domain::call::{Method, ToolCall};
use crate::domain::classify::Classified;
use crate::domain::json;

/// Hands a list of tools, given by their definitions, to a function.
fn with<T>(definitions: &[&str], make: impl Fn(&[ListedTool<'_>]) -> T) -> T {
    let read: Vec<(String, Classified)> = definitions
        .iter()
        .map(|raw| {
            let node = json::parse(raw).unwrap();
            let name = node.get("name").unwrap().as_str().unwrap().to_owned();
            (name, Classified::of(raw, false))
        })
        .collect();
    let tools: Vec<ListedTool<'_>> = definitions
        .iter()
        .zip(&read)
        .map(|(definition, (name, risk))| ListedTool { name, definition, risk })
        .collect();
    make(&tools)
}

fn drafted(definitions: &[&str]) -> Draft {
    let draft = with(definitions, |tools| draft("images", tools));
    let (_, problems) =
        Policy::read(&draft.text).unwrap_or_else(|p| panic!("{p:?}: {}", draft.text));
    assert!(problems.is_empty(), "{problems:?}: {}", draft.text);
    draft
}

/// What becomes of a call: the action, and the most calls with their window.
fn judged(text: &str, tool: &str, arguments: &str) -> (&'static str, Option<(u32, u64)>) {
    let (policy, _) = Policy::read(text).unwrap();
    let params = json::object([("name", json::quote(tool).as_str()), ("arguments", arguments)]);
    let call = ToolCall::read_as(Method::CallTool, "images", &params).unwrap();
    match policy.judge("bot", &call, None).unwrap() {
        Verdict::Ruled { action, rule, .. } => {
            let limit = rule.rate_limit.map(|l| (l.max, l.window.as_secs()));
            (action.as_str(), limit)
        }
        other => panic!("{other:?}"),
    }
}

fn does(text: &str, tool: &str, arguments: &str) -> &'static str {
    judged(text, tool, arguments).0
}

const LIST: &str = r#"{"name":"list_sets","description":"List the sets."}"#;
const COPY: &str = r#"{"name":"copy_set","description":"Copy a set."}"#;
const DELETE: &str = r#"{"name":"delete_set","description":"Delete a set."}"#;

/// A tool whose `operation` says what it does.
fn manage(description: &str, operation: &str) -> String {
    format!(
        r#"{{"name":"manage_set","description":"{description}",
            "inputSchema":{{"type":"object","properties":{{"operation":{operation}}}}}}}"#
    )
}

#[test]
fn reads_and_writes_run_within_limits_and_what_is_graver_or_unknown_is_asked_about() {
    let text = drafted(&[
        LIST,
        COPY,
        DELETE,
        r#"{"name":"run_shell","description":"Run a shell command."}"#,
        r#"{"name":"pay_invoice","description":"Pay an invoice."}"#,
        r#"{"name":"frobnicate"}"#,
    ])
    .text;

    assert_eq!(judged(&text, "list_sets", "{}"), ("allow", Some((60, 60))));
    assert_eq!(judged(&text, "copy_set", "{}"), ("allow", Some((30, 3600))));
    for tool in ["delete_set", "run_shell", "pay_invoice", "frobnicate"] {
        assert_eq!(judged(&text, tool, "{}"), ("require_approval", None), "{tool}");
    }
    assert_eq!(does(&text, "another", "{}"), "deny");
    for words in [
        r#""risk": "destructive""#,
        r#""severity": "critical""#,
        r#""reason": "Destructive, critical: name says \"delete\""#,
        r#""reason": "Read, low: name says \"list\""#,
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

#[test]
fn the_argument_that_decides_is_a_condition_and_only_values_that_are_milder_run_unasked() {
    let schema = r#"{"type":"string","enum":["get","update","delete","frobnicate"]}"#;
    let text = drafted(&[&manage("Get, update or delete one set.", schema)]).text;
    let operation = |value: &str| does(&text, "manage_set", &format!(r#"{{"operation":{value}}}"#));

    assert_eq!(operation(r#""get""#), "allow");
    assert_eq!(operation(r#""update""#), "allow");
    for value in [r#""delete""#, r#""frobnicate""#, r#""purge""#, r#""GET""#, "null", r#"["get"]"#]
    {
        assert_eq!(operation(value), "require_approval", "{value}");
    }
    assert_eq!(does(&text, "manage_set", "{}"), "require_approval");
    assert_eq!(judged(&text, "manage_set", "{}").1, Some((30, 3600)));
    assert!(
        text.contains(r#"Runs unasked only where args.operation is one of \"get\", \"update\"."#)
    );
}

#[test]
fn values_that_only_a_description_lists_are_a_condition_too() {
    let operation =
        r#"{"type":"string","description":"What to do: - Create: makes one - delete, get"}"#;
    let text = drafted(&[&manage("Manage one set.", operation)]).text;

    assert_eq!(does(&text, "manage_set", r#"{"operation":"get"}"#), "allow");
    assert_eq!(does(&text, "manage_set", r#"{"operation":"delete"}"#), "require_approval");
}

#[test]
fn where_anything_else_speaks_for_harm_every_call_is_asked_about() {
    let schema = r#"{"type":"string","enum":["get","delete"]}"#;
    let get = r#"{"operation":"get"}"#;
    let two = r#"{"name":"manage_set","inputSchema":{"type":"object","properties":{
        "operation":{"type":"string","enum":["update","delete"]},"force":{"type":"boolean"}}}}"#;
    for tool in [
        manage("Manage one set. Runs arbitrary code.", schema),
        manage("Wipe one set.", schema),
        manage("Manage one set.", schema).replace("manage_set", "purge_set"),
        manage("Manage one set.", r#"{"type":"array","enum":["get","delete"]}"#),
        two.to_owned(),
    ] {
        let text = drafted(&[&tool]).text;
        let name = if tool.contains("purge_set") { "purge_set" } else { "manage_set" };
        assert_eq!(does(&text, name, get), "require_approval", "{tool}");
        assert!(!text.contains("\"when\""), "{text}");
    }
}

#[test]
fn a_servers_hint_of_destruction_leaves_only_reading_unasked() {
    let tool = manage("Manage one set.", r#"{"type":"string","enum":["get","update","delete"]}"#);
    let tool = tool.replacen('{', r#"{"annotations":{"destructiveHint":true},"#, 1);
    let text = drafted(&[&tool]).text;

    assert_eq!(judged(&text, "manage_set", r#"{"operation":"get"}"#), ("allow", Some((60, 60))));
    assert_eq!(does(&text, "manage_set", r#"{"operation":"update"}"#), "require_approval");
}

#[test]
fn a_switch_that_makes_a_write_final_is_asked_about_unless_it_is_certainly_off() {
    let tool = |force: &str| {
        let schema = format!(r#"{{"type":"object","properties":{{"force":{force}}}}}"#);
        format!(r#"{{"name":"update_set","description":"Update a set.","inputSchema":{schema}}}"#)
    };
    let off = drafted(&[&tool(r#"{"type":"boolean","default":false}"#)]).text;
    let unsaid = drafted(&[&tool(r#"{"type":"boolean"}"#)]).text;
    let on = drafted(&[&tool(r#"{"type":"boolean","default":true}"#)]).text;

    for (arguments, by_off, else_) in [
        (r#"{"force":false}"#, "allow", "allow"),
        ("{}", "allow", "require_approval"),
        (r#"{"force":true}"#, "require_approval", "require_approval"),
        (r#"{"force":"true"}"#, "require_approval", "require_approval"),
        (r#"{"Force":true}"#, "require_approval", "require_approval"),
    ] {
        assert_eq!(does(&off, "update_set", arguments), by_off, "off {arguments}");
        assert_eq!(does(&unsaid, "update_set", arguments), else_, "unsaid {arguments}");
        assert_eq!(does(&on, "update_set", arguments), else_, "on {arguments}");
    }
    assert!(off.contains(r#""risk": "destructive""#), "{off}");
}

#[test]
fn the_same_tools_make_the_same_text_in_whatever_order_they_come() {
    assert_eq!(drafted(&[LIST, COPY, DELETE]).text, drafted(&[DELETE, LIST, COPY]).text);
    assert_eq!(drafted(&[LIST, COPY, DELETE]).added, ["delete_set", "copy_set", "list_sets"]);
    assert!(drafted(&[]).text.contains("\"tools\": {}"));
}

#[test]
fn what_a_server_says_of_itself_can_hide_nothing_in_the_draft() {
    let draft = drafted(&[
        "{\"name\":\"get_\u{202e}x\\\"\\u001b\"}",
        r#"{"name":"get_*"}"#,
        r#"{"name":" "}"#,
        r#"{"name":"manage_x","inputSchema":{"properties":{"a.operation":{},"operation":{"enum":["get","delete \u202e"]}}}}"#,
    ]);

    assert!(draft.text.contains(r#""get_\u202ex\"\u001b": {"#), "{}", draft.text);
    assert!(!draft.text.contains('\u{202e}'));
    let left: Vec<&str> = draft.left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&"get_*") && left.contains(&" "), "{left:?}");
}

#[test]
fn new_tools_are_merged_and_what_stands_in_the_policy_stays_byte_for_byte() {
    let new = |text: &str| with(&[LIST, DELETE], |tools| update(text, tools)).unwrap().text;
    let rule = |indent: &str, line: &str| {
        new("{\"version\":\"1\"}");
        let limit = r#""rate_limit": { "max": 60, "window": 60 }"#;
        format!(
            "{indent}\"list_sets\": {{{line}{indent}  \"action\": \"allow\",{line}{indent}  {limit}"
        )
    };
    for (before, start, end) in [
        (
            "{\n    \"version\": \"1\",\n    \"tools\": {\n        \"delete_set\": {\"action\" : \"deny\"}\n    }\n}\n",
            "{\n    \"version\": \"1\",\n    \"tools\": {\n        \"delete_set\": {\"action\" : \"deny\"}",
            "\n        }\n    }\n}\n",
        ),
        (
            r#"{"tools":{"delete_set":{"action":"deny"}},"version":"1"}"#,
            r#"{"tools":{"delete_set":{"action":"deny"}"#,
            "}\n  },\"version\":\"1\"}",
        ),
        (
            "{\"version\":\"1\",\r\n\"hide\":[\"delete_set\"],\"tools\":{ }}",
            "{\"version\":\"1\",\r\n\"hide\":[\"delete_set\"],\"tools\":{",
            "}\r\n   }}",
        ),
        (
            "{\n\t\"version\": \"1\",\n\t\"hide\": [\"delete_*\"]\n}",
            "{\n\t\"version\": \"1\",\n\t\"hide\": [\"delete_*\"]",
            "\n\t}\n}",
        ),
        (
            r#"{"version":"1","match":[{"risk":["destructive"],"action":"deny"}]}"#,
            r#"{"version":"1","match":[{"risk":["destructive"],"action":"deny"}]"#,
            "}\n  }\n}",
        ),
    ] {
        let after = new(before);

        assert!(after.starts_with(start) && after.ends_with(end), "{before:?} became {after:?}");
        assert!(!after[start.len()..].contains("delete_set"), "{after}");
        let (_, problems) = Policy::read(&after).unwrap_or_else(|p| panic!("{p:?}: {after}"));
        let (_, before) = Policy::read(before).unwrap();
        assert_eq!(problems, before, "{after}");
        assert_eq!(judged(&after, "list_sets", "{}"), ("allow", Some((60, 60))), "{after}");
        assert_eq!(new(&after), after, "nothing is new a second time");
    }
    assert!(new("{\n  \"tools\": {\n  }\n}").contains(&rule("    ", "\n")));
}

#[test]
fn a_tool_that_the_policy_is_about_already_is_left_to_it_and_told() {
    let text = r#"{"version":"1","hide":["list_*"],"tools":{"copy_sat":{"action":"deny"}},
        "match":[{"tools":["delete_*","wipe_*"],"agents":["ci"],"action":"deny"}]}"#;

    let draft = with(&[LIST, COPY, DELETE], |tools| update(text, tools)).unwrap();

    assert_eq!(draft.added, ["copy_set"]);
    let left: Vec<String> = draft.left.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert_eq!(left, ["delete_set: /match/0 is about it", "list_sets: /hide/0 hides it"]);
    let misfits: Vec<String> = draft.misfits.iter().map(ToString::to_string).collect();
    assert_eq!(misfits.len(), 2, "{misfits:?}");
    assert!(misfits.iter().any(|m| m.starts_with("/tools/copy_sat") && m.contains("copy_set")));
    assert!(misfits.iter().any(|m| m.starts_with("/match/0/tools/1")), "{misfits:?}");
    assert!(with(&[LIST], |tools| update("{\"version\":\"2\"}", tools)).is_err());
}
