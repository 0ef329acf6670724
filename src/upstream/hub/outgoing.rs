//! What a request says upstream.

use std::borrow::Cow;

use super::super::{ClientCapabilities, Request, WireEra};
use crate::domain::call;
use crate::domain::json::{self, lenient};
use crate::protocol::meta;

/// The `params` of a request as they go out: the given bytes, and in `_meta` our progress token
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>)
/// and what the modern era wants
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>).
pub(in crate::upstream) fn outgoing_params<'r>(
    era: WireEra,
    id: u64,
    request: &'r Request,
    features: &ClientCapabilities,
) -> Option<Cow<'r, str>> {
    let mut meta: Vec<(&str, String)> = Vec::new();
    if era == WireEra::Modern {
        let capabilities = request.capabilities.clone().unwrap_or_else(|| features.to_json());
        meta.extend(super::super::handshake::modern_meta(&capabilities));
        if let Some(level) = &request.log_level {
            meta.push((meta::LOG_LEVEL, level.clone()));
        }
    }
    if request.progress {
        meta.push((meta::PROGRESS_TOKEN, id.to_string()));
    }
    match &request.params {
        params if meta.is_empty() => params.as_deref().map(Cow::Borrowed),
        Some(params) => Some(with_meta(params, &meta).into()),
        None => Some(with_meta("{}", &meta).into()),
    }
}

/// As [`call::params_with_meta`]; an object that has no `_meta` is not taken apart for it.
fn with_meta(params: &str, meta: &[(&str, String)]) -> String {
    let end = params.rfind('}').unwrap_or_default();
    let members = lenient::members(params);
    let Some(members) = members.filter(|found| found.iter().all(|m| m.key != "_meta")) else {
        return call::params_with_meta(params, meta);
    };
    let room: usize = meta.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
    let mut out = String::with_capacity(params.len() + room + 12);
    out.push_str(&params[..end]);
    out.push_str(if members.is_empty() { "\"_meta\":{" } else { ",\"_meta\":{" });
    for (n, (key, value)) in meta.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        json::write_string(key, &mut out);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out.push_str(&params[end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_without_additions_stay_the_very_same_text() {
        let text = " {\"b\" : 1.0,\n \"a\":1e2}";
        let mut request = Request::new("tools/call", Some(text.to_owned()));
        let features = ClientCapabilities::default();

        let plain = outgoing_params(WireEra::Legacy, 9, &request, &features).map(Cow::into_owned);
        request.progress = true;
        let with_token = outgoing_params(WireEra::Legacy, 9, &request, &features);

        assert_eq!(plain.as_deref(), Some(text));
        assert_eq!(
            with_token.as_deref(),
            Some(" {\"b\" : 1.0,\n \"a\":1e2,\"_meta\":{\"progressToken\":9}}")
        );
    }

    #[test]
    fn params_get_their_meta_at_their_end_or_into_the_one_they_have() {
        for (params, want) in [
            ("{}", r#"{"_meta":{"progressToken":9}}"#),
            (r#"{"a": [ ] }"#, r#"{"a": [ ] ,"_meta":{"progressToken":9}}"#),
            (r#"{"_meta":{"x":1},"a":1}"#, r#"{"_meta":{"x":1,"progressToken":9},"a":1}"#),
            (r#"{"_met\u0061":{"x":1}}"#, r#"{"_met\u0061":{"x":1,"progressToken":9}}"#),
            (r#"{"a":{"_meta":{}}}"#, r#"{"a":{"_meta":{}},"_meta":{"progressToken":9}}"#),
            ("[1]", "[1]"),
        ] {
            let request = Request { progress: true, ..Request::new("m", Some(params.to_owned())) };
            let features = ClientCapabilities::default();

            let said = outgoing_params(WireEra::Legacy, 9, &request, &features);

            assert_eq!(said.as_deref(), Some(want), "{params}");
        }
    }
}
