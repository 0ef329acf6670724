//! JSON-RPC messages as text, put together from raw JSON, so that neither `params` nor a result is
//! ever written anew.
//!
//! <https://www.jsonrpc.org/specification>,
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic#messages>

use std::fmt::{Display, Write as _};

use crate::domain::json::{self, Node, lenient};

/// A request. `id` and `params` are raw JSON.
pub(crate) fn request(id: impl Display, method: &str, params: Option<&str>) -> String {
    let mut out = String::with_capacity(72 + method.len() + params.map_or(0, str::len));
    // Writing to a string can't fail.
    let _ = write!(out, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":");
    json::write_string(method, &mut out);
    if let Some(params) = params {
        out.push_str(",\"params\":");
        out.push_str(params);
    }
    out.push('}');
    out
}

/// A notification. `params` is raw JSON.
pub(crate) fn notification(method: &str, params: Option<&str>) -> String {
    let (method, params) = (json::quote(method), params_member(params));
    format!("{{\"jsonrpc\":\"2.0\",\"method\":{method}{params}}}")
}

fn params_member(params: Option<&str>) -> String {
    params.map_or_else(String::new, |params| format!(",\"params\":{params}"))
}

/// A response with a result. `id` and `result` are raw JSON.
pub(crate) fn result(id: &str, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
}

/// A response with an error object. `id` and `error` are raw JSON.
pub(crate) fn error_raw(id: &str, error: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}")
}

/// A response with an error of Placet's own. `id` and `data` are raw JSON.
pub(crate) fn error(id: &str, code: i64, message: &str, data: Option<&str>) -> String {
    error_raw(id, &error_object(code, message, data))
}

/// An error object alone. `data` is raw JSON.
///
/// <https://www.jsonrpc.org/specification#error_object>
pub(crate) fn error_object(code: i64, message: &str, data: Option<&str>) -> String {
    let data = data.map_or_else(String::new, |data| format!(",\"data\":{data}"));
    format!("{{\"code\":{code},\"message\":{}{data}}}", json::quote(message))
}

/// The code of an error object given as JSON text, also where the rest of it is odd; none where it
/// has no integer for one.
pub(crate) fn error_code(error: &str) -> Option<i64> {
    lenient::member(error, "code")?.parse().ok()
}

/// The code of an error object; none where it has no integer for one.
///
/// <https://www.jsonrpc.org/specification#error_object>
pub(crate) fn code_of(error: &Node<'_>) -> Option<i64> {
    error.get("code")?.as_number()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_parts_as_they_are() {
        for (built, want) in [
            (request(7, "ping", None), r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#),
            (
                request("\"a\"", "m", Some("{ \"n\":1.0 }")),
                r#"{"jsonrpc":"2.0","id":"a","method":"m","params":{ "n":1.0 }}"#,
            ),
            (notification("n", None), r#"{"jsonrpc":"2.0","method":"n"}"#),
            (notification("n", Some("{}")), r#"{"jsonrpc":"2.0","method":"n","params":{}}"#),
            (result("1", "{ }"), r#"{"jsonrpc":"2.0","id":1,"result":{ }}"#),
            (
                error("null", -32600, "a \"b\"", Some("[1.0]")),
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a \"b\"","data":[1.0]}}"#,
            ),
        ] {
            assert_eq!(built, want);
        }
    }

    #[test]
    fn a_code_is_an_integer() {
        let code = |raw: &str| code_of(&json::parse(raw).unwrap());

        assert_eq!(code(r#"{"code":-32601}"#), Some(-32601));
        for raw in ["{}", r#"{"code":"-32601"}"#, r#"{"code":-32601.0}"#, "[]"] {
            assert_eq!(code(raw), None, "{raw}");
        }
    }
}
