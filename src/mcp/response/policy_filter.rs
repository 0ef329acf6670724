//! What of an upstream's words a client may see: nothing of what the upstream's policy hides.
//!
//! Each function takes one upstream's policy and its own words, so that an address with several
//! upstreams filters each before it puts them together.

use std::borrow::Cow;

use crate::domain::call::{Method, ToolCall, uri_arguments};
use crate::domain::json::{self, Node, edit, lenient};
use crate::domain::policy::{Action, Policy, Verdict};
use crate::mcp::uri_template::Template;
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::{Notification, WireEra};

/// The lists that are filtered: method, member that holds the list, member that names an entry.
const LISTS: [(&str, &str, &str, Method); 4] = [
    (method::TOOLS_LIST, "tools", "name", Method::CallTool),
    (method::PROMPTS_LIST, "prompts", "name", Method::GetPrompt),
    (method::RESOURCES_LIST, "resources", "uri", Method::ReadResource),
    (method::RESOURCES_TEMPLATES_LIST, "resourceTemplates", "uriTemplate", Method::ReadResource),
];

/// A result as the client may see it. A list that can't be read is shown empty: better nothing
/// than what the policy hides.
pub(crate) fn result(
    policy: Option<&Policy>,
    method: &str,
    params: Option<&str>,
    raw: String,
) -> String {
    if method == method::COMPLETION_COMPLETE {
        return match policy {
            Some(policy) if policy.hides_any(Method::ReadResource) => {
                completion(policy, params, raw)
            }
            _ => raw,
        };
    }
    let Some((_, list, name, kind)) = LISTS.into_iter().find(|(m, ..)| *m == method) else {
        return raw;
    };
    let judged = kind == Method::CallTool || policy.is_some_and(|p| p.governs(kind));
    if !judged {
        return raw;
    }
    // What readers could understand differently is told as the one that was judged.
    let raw = match lenient::readable(&raw, &str::to_owned) {
        Some(Cow::Owned(readable)) => readable,
        _ => raw,
    };
    let Ok(node) = json::parse(&raw) else { return format!("{{\"{list}\":[]}}") };
    let Some(entries) = node.get(list).and_then(Node::elements) else {
        return format!("{{\"{list}\":[]}}");
    };
    let hidden = |entry: &Node<'_>| {
        let name = entry.get(name).and_then(Node::as_str);
        name.is_none_or(|name| policy.is_some_and(|p| p.hides_as(kind, name)))
    };
    if !entries.iter().any(hidden) {
        return raw;
    }
    let shown = entries.iter().filter(|e| !hidden(e)).map(|e| e.raw);
    node.with(&[(list, json::array(shown))])
}

/// The values of a completion without those that would lead to a hidden resource.
fn completion(policy: &Policy, params: Option<&str>, raw: String) -> String {
    let none = || "{\"completion\":{\"values\":[]}}".to_owned();
    let Ok(node) = json::parse(&raw) else { return none() };
    let Some(completion) = node.get("completion") else { return none() };
    let Some(values) = completion.get("values").and_then(Node::elements) else { return none() };
    let parsed = params.and_then(|p| json::parse(p).ok());
    let text = |path: &[&str]| {
        let mut at = parsed.as_ref()?;
        for key in path {
            at = at.get(key)?;
        }
        at.as_str()
    };
    let argument = text(&["argument", "name"]).unwrap_or_default();
    let template = text(&["ref", "uri"]).map(Template::read);
    let known: Vec<(&str, &str)> = parsed
        .as_ref()
        .and_then(|p| p.get("context")?.get("arguments")?.members())
        .unwrap_or_default()
        .iter()
        .filter_map(|m| Some((m.key.as_ref(), m.node.as_str()?)))
        .filter(|(name, _)| *name != argument)
        .collect();
    let hides = |uri: &str| policy.hides_as(Method::ReadResource, uri);
    let hidden = |value: &Node<'_>| {
        let Some(value) = value.as_str() else { return true };
        let expanded = match &template {
            None => None,
            // What can't be expanded can't be judged.
            Some(None) => return true,
            Some(Some(template)) => {
                Some(template.expand(&[&known[..], &[(argument, value)]].concat()))
            }
        };
        expanded.is_some_and(|uri| hides(&uri)) || (value.contains(':') && hides(value))
    };
    if !values.iter().any(hidden) {
        return raw;
    }
    let shown = values.iter().filter(|v| !hidden(v)).map(|v| v.raw);
    let shown = completion.with(&[("values", json::array(shown))]);
    // The total would count the hidden values too.
    let shown = edit::without(&shown, &["total"]);
    node.with(&[("completion", shown)])
}

/// Whether an agent's client may hear of it: nothing of an upstream without a policy, nothing of a
/// hidden resource, and nothing of a denied one, however it came to be subscribed to.
pub(crate) fn may_hear(
    policy: Option<&Policy>,
    agent: &str,
    upstream: &str,
    note: &Notification,
) -> bool {
    let Some(policy) = policy else { return false };
    if note.method != method::NOTIFICATIONS_RESOURCES_UPDATED
        || !policy.governs(Method::ReadResource)
    {
        return true;
    }
    let params = note.params.as_deref().and_then(|p| json::parse(p).ok());
    let Some(uri) = params.as_ref().and_then(|p| p.get("uri")?.as_str()) else { return false };
    let Ok(read) = ToolCall::read_as(Method::ReadResource, upstream, &uri_arguments(uri)) else {
        return false;
    };
    match policy.judge(agent, &read, None) {
        Ok(Verdict::Ungoverned) => true,
        Ok(Verdict::Ruled { action, .. }) => action != Action::Deny,
        Ok(Verdict::Hidden) | Err(_) => false,
    }
}

/// Whether Placet's own word about a request is a JSON-RPC error: its result has no place for one.
pub(crate) fn answers_with_errors(method: &str) -> bool {
    matches!(
        method,
        method::PROMPTS_GET
            | method::RESOURCES_READ
            | method::RESOURCES_SUBSCRIBE
            | method::RESOURCES_UNSUBSCRIBE
            | method::COMPLETION_COMPLETE
    )
}

/// The error object (raw JSON) of a tool, prompt or resource that does not exist
/// (<https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling>).
pub(crate) fn unknown(era: WireEra, method: &str, kind: Method, name: &str) -> String {
    let data = format!("{{\"uri\":{}}}", json::quote(name));
    match kind {
        Method::CallTool | Method::GetPrompt => {
            let text = format!("Unknown {}: {name}", kind.noun());
            jsonrpc::error_object(code::INVALID_PARAMS, &text, None)
        }
        Method::ReadResource => {
            let legacy = era == WireEra::Legacy && method != method::COMPLETION_COMPLETE;
            let code = if legacy { code::RESOURCE_NOT_FOUND } else { code::INVALID_PARAMS };
            jsonrpc::error_object(code, "Resource not found", Some(&data))
        }
    }
}

/// An upstream's error in the words of [`unknown`] where it says that there is no such thing and
/// the policy hides others: else the words would tell a hidden name from an unknown one. `named` is
/// what the client calls it, where that is another name than the upstream's.
pub(crate) fn error(
    policy: Option<&Policy>,
    era: WireEra,
    method: &str,
    params: Option<&str>,
    named: Option<&str>,
    raw: String,
) -> String {
    let Some((kind, name)) = subject(method, params) else { return raw };
    if !policy.is_some_and(|p| p.hides_any(kind)) {
        return raw;
    }
    let Ok(node) = json::parse(&raw) else { return raw };
    let code = jsonrpc::code_of(&node);
    let words = node.get("message").and_then(Node::as_str).unwrap_or_default().to_lowercase();
    let says = ["not found", "unknown", "no such", "does not exist", "invalid prompt name"];
    let missing = match kind {
        Method::ReadResource => {
            matches!(code, Some(code::RESOURCE_NOT_FOUND | code::INVALID_PARAMS))
        }
        _ => false,
    };
    if missing || says.iter().any(|part| words.contains(part)) {
        return unknown(era, method, kind, named.unwrap_or(&name));
    }
    raw
}

/// What a request is about, where it is about a prompt or a resource; a template counts as one.
pub(crate) fn subject(method: &str, params: Option<&str>) -> Option<(Method, String)> {
    let node = json::parse(params?).ok()?;
    let text = |node: &Node<'_>, key| node.get(key).and_then(Node::as_str).map(str::to_owned);
    match method {
        method::PROMPTS_GET => Some((Method::GetPrompt, text(&node, "name")?)),
        method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => {
            Some((Method::ReadResource, text(&node, "uri")?))
        }
        method::COMPLETION_COMPLETE => {
            let about = node.get("ref")?;
            match about.get("type").and_then(Node::as_str)? {
                "ref/prompt" => Some((Method::GetPrompt, text(about, "name")?)),
                "ref/resource" => Some((Method::ReadResource, text(about, "uri")?)),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let text = r#"{"version":"1","hide":["secret"],
            "resources":{"hide":["db://prod/secret*","x://all/*"]},"prompts":{"hide":["internal_*"]}}"#;
        Policy::read(text).unwrap().0
    }

    fn shown(method: &str, raw: &str) -> String {
        result(Some(&policy()), method, None, raw.to_owned())
    }

    fn completed(params: &str, values: &str) -> String {
        let raw =
            format!(r#"{{"completion":{{"values":{values},"total":9,"hasMore":false}},"x":1.0}}"#);
        result(Some(&policy()), "completion/complete", Some(params), raw)
    }

    #[test]
    fn hidden_entries_are_left_out_of_every_list_and_other_members_keep_their_bytes() {
        assert_eq!(
            shown(
                "prompts/list",
                r#"{ "prompts":[{"name":"a", "n":1.0},{"name":"internal_x"}],"nextCursor":"\u0041"}"#
            ),
            r#"{"prompts":[{"name":"a", "n":1.0}],"nextCursor":"\u0041"}"#
        );
        assert_eq!(
            shown(
                "resources/list",
                r#"{"resources":[{"uri":"db://prod/secret1"},{"uri":"db://PROD/%73ecret"},{"uri":"db://prod/a"}]}"#
            ),
            r#"{"resources":[{"uri":"db://prod/a"}]}"#
        );
        assert_eq!(
            shown(
                "resources/templates/list",
                r#"{"resourceTemplates":[{"uriTemplate":"x://all/{id}"},{"uriTemplate":"db://{a}/{b}"}]}"#
            ),
            r#"{"resourceTemplates":[{"uriTemplate":"db://{a}/{b}"}]}"#
        );
        let whole = r#"{ "prompts" : [ {"name":"a"} ] }"#;
        assert_eq!(shown("prompts/list", whole), whole);
    }

    #[test]
    fn a_list_that_cant_be_read_is_shown_empty_and_what_is_not_judged_passes() {
        assert_eq!(shown("prompts/list", r#"{"prompts":{}}"#), r#"{"prompts":[]}"#);
        assert_eq!(shown("resources/list", r#"{"resources":[{"url":1}]}"#), r#"{"resources":[]}"#);
        let open = Policy::read(r#"{"version":"1"}"#).unwrap().0;
        let odd = r#"{"resources":7}"#;
        assert_eq!(result(Some(&open), "resources/list", None, odd.to_owned()), odd);
        assert_eq!(result(None, "prompts/list", None, odd.to_owned()), odd);
    }

    #[test]
    fn completions_lead_to_no_hidden_resource() {
        let about = |argument: &str, context: &str| {
            format!(
                r#"{{"ref":{{"type":"ref/resource","uri":"db://{{env}}/{{name}}"}},"argument":{{"name":"{argument}","value":""}},"context":{{"arguments":{{{context}}}}}}}"#
            )
        };
        // With what is known already the URI is whole.
        assert_eq!(
            completed(&about("name", r#""env":"prod""#), r#"["secret1","open"]"#),
            r#"{"completion":{"values":["open"],"hasMore":false},"x":1.0}"#
        );
        let all = |params: &str, values: &str| {
            completed(params, values).contains(&format!(r#""values":{values},"total":9"#))
        };
        assert!(all(&about("name", r#""env":"test""#), r#"["secret1"]"#));
        // Else a value is left out where everything behind it is hidden.
        assert!(all(&about("env", ""), r#"["prod","test"]"#));
        let every = r#"{"ref":{"type":"ref/resource","uri":"x://{what}/{id}"},"argument":{"name":"what","value":""}}"#;
        assert!(completed(every, r#"["all","some"]"#).contains(r#""values":["some"]"#));
        let broken = r#"{"ref":{"type":"ref/resource","uri":"x://{what"},"argument":{"name":"what","value":""}}"#;
        assert!(completed(broken, r#"["a"]"#).contains(r#""values":[]"#));
        let prompt =
            r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"uri","value":""}}"#;
        assert!(
            completed(prompt, r#"["db://prod/secret","secret"]"#)
                .contains(r#""values":["secret"]"#)
        );
    }

    #[test]
    fn updates_of_hidden_and_denied_resources_are_not_heard() {
        let note = |params: &str| Notification {
            method: "notifications/resources/updated".to_owned(),
            params: Some(params.to_owned()),
        };

        let hears = |policy: Option<&Policy>, params| may_hear(policy, "ann", "u", &note(params));
        assert!(hears(Some(&policy()), r#"{"uri":"db://prod/a"}"#));
        assert!(!hears(Some(&policy()), r#"{"uri":"db://prod/secret"}"#));
        assert!(!hears(Some(&policy()), "{}"));
        assert!(!hears(None, "{}"));
        let denying = Policy::read(r#"{"version":"1","resources":{"default":"deny"}}"#).unwrap().0;
        assert!(!hears(Some(&denying), r#"{"uri":"db://prod/a"}"#));
    }

    #[test]
    fn an_upstreams_unknown_reads_like_a_hidden_one() {
        let params = Some(r#"{"uri":"db://prod/no"}"#);
        let policy = policy();
        let said = |era, raw: &str| {
            error(Some(&policy), era, "resources/read", params, None, raw.to_owned())
        };

        let own = r#"{"code":-32002,"message":"I don't have that"}"#;
        let as_hidden =
            unknown(WireEra::Legacy, "resources/read", Method::ReadResource, "db://prod/no");
        assert_eq!(said(WireEra::Legacy, own), as_hidden);
        assert_eq!(
            said(WireEra::Modern, r#"{"code":0,"message":"Unknown resource: db://prod/no"}"#),
            r#"{"code":-32602,"message":"Resource not found","data":{"uri":"db://prod/no"}}"#
        );
        let other = r#"{"code":-32603,"message":"the disk is full"}"#;
        assert_eq!(said(WireEra::Legacy, other), other);
    }
}
