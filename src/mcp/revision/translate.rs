//! Results and errors of one era in terms of the other: the type of a result, and the codes that
//! exist in one era only
//! (<https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes>).

use crate::domain::json::{self, Node, edit};
use crate::protocol::{TASKS_EXTENSION, code, jsonrpc, method};
use crate::upstream::WireEra;

use super::cache_hints::CACHED;

/// Turns an upstream's result into what the client's era demands; unchanged within one era.
pub(crate) fn translate_result(raw: String, from: WireEra, to: WireEra, method: &str) -> String {
    match (from, to) {
        (WireEra::Legacy, WireEra::Modern) => {
            let mut extra = vec![("resultType", "\"complete\"")];
            if CACHED.contains(&method) {
                extra.extend([("ttlMs", "0"), ("cacheScope", "\"private\"")]);
            }
            edit::with_missing(&raw, &extra)
        }
        (WireEra::Modern, WireEra::Legacy) => {
            // Only a list has these; elsewhere such a member is the tool's own.
            let cached: &[&str] = if CACHED.contains(&method) {
                &["resultType", "ttlMs", "cacheScope"]
            } else {
                &["resultType"]
            };
            edit::without(&raw, cached)
        }
        _ => raw,
    }
}

/// Turns an upstream's error (raw JSON) into what the client's era demands. `declarable` says of a
/// capability whether the client could declare it and have it passed on.
pub(crate) fn translate_error(
    raw: &str,
    from: WireEra,
    to: WireEra,
    method: &str,
    declarable: impl Fn(&str) -> bool,
) -> String {
    let Ok(node) = json::parse(raw) else { return raw.to_owned() };
    let code = match (jsonrpc::code_of(&node), to) {
        // It is the client itself that lacks something it could have.
        (Some(code::MISSING_CAPABILITY), WireEra::Modern) if could_have(&node, declarable) => {
            return raw.to_owned();
        }
        // These otherwise speak of the hop between Placet and the upstream, which is not the
        // client's fault. The last exists in 2025-11-25 alone:
        // https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation#url-elicitation-required-error
        (Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION), _)
        | (Some(code::URL_ELICITATION_REQUIRED), WireEra::Modern) => code::INTERNAL_ERROR,
        // A resource that is not found has another code in each era:
        // https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling
        (Some(code::RESOURCE_NOT_FOUND), WireEra::Modern) => code::INVALID_PARAMS,
        (Some(code::INVALID_PARAMS), WireEra::Legacy)
            if from == WireEra::Modern
                && matches!(method, method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE)
                && node.get("data").and_then(|d| d.get("uri")).is_some() =>
        {
            code::RESOURCE_NOT_FOUND
        }
        _ => return raw.to_owned(),
    };
    node.with(&[("code", code.to_string())])
}

/// Whether a client could have everything that an upstream says is required of it.
fn could_have(error: &Node<'_>, declarable: impl Fn(&str) -> bool) -> bool {
    let needed = error.get("data").and_then(|d| d.get("requiredCapabilities"));
    let needed = needed.and_then(Node::members).unwrap_or_default();
    !needed.is_empty()
        && needed.iter().all(|m| match m.key.as_ref() {
            // The tasks extension is the only one that is passed on.
            "extensions" => {
                let names = m.node.members().unwrap_or_default();
                !names.is_empty() && names.iter().all(|n| n.key == TASKS_EXTENSION)
            }
            feature => declarable(feature),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_the_clients_only_where_it_could_have_it() {
        let told = |required: &str| {
            let raw = format!(
                r#"{{"code":-32021,"message":"no","data":{{"requiredCapabilities":{required}}}}}"#
            );
            let could = |feature: &str| feature == "elicitation";
            let told = translate_error(&raw, WireEra::Modern, WireEra::Modern, "tools/call", could);
            told.contains("-32021")
        };

        assert!(told(r#"{"elicitation":{"url":{}}}"#));
        assert!(told(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#));
        assert!(!told(r#"{"sampling":{}}"#) && !told("{}"));
        assert!(!told(r#"{"extensions":{"com.example/other":{}}}"#));
        assert!(!told(r#"{"extensions":{}}"#));
    }

    #[test]
    fn results_change_only_at_the_border_of_eras() {
        use WireEra::{Legacy, Modern};
        let raw = r#"{ "tools":[ ] }"#;

        let translated =
            |raw: &str, from, to, method| translate_result(raw.to_owned(), from, to, method);

        assert_eq!(translated(raw, Legacy, Legacy, "tools/list"), raw);
        assert_eq!(
            translated(raw, Legacy, Modern, "tools/list"),
            r#"{"tools":[ ],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#
        );
        assert_eq!(
            translated(r#"{"resultType":"complete","n":1.0}"#, Modern, Legacy, "tools/call"),
            r#"{"n":1.0}"#
        );
    }
}
