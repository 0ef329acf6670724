//! A modern server that needs input answers with `input_required`; a legacy client is asked by
//! real requests on its stream instead, and the request goes up again with what it said.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::json::{self, Node, edit};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::response::input_requests::{is_input_required, not_offered};
use crate::mcp::response::{self, Reported};
use crate::protocol::method;
use crate::upstream::{Notifications, Reply, ServerMessage, ServerRequest, WireEra};

/// Pause before a round in which the server asks nothing and only wants its state back.
const STATE_ONLY: Duration = Duration::from_millis(250);

/// Answers a request that may take several rounds, from its first reply on: where the server wants
/// input, a legacy client is asked for it over `notes`, the channel of its request, and `send`
/// sends the request again with these `params`. A modern client makes the next round itself.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr>
pub(crate) async fn rounds<F: Future<Output = Result<Reply, Reported>>>(
    mcp: &Mcp,
    incoming: &ClientRequest,
    mut params: Arc<str>,
    mut reply: Reply,
    notes: &Notifications,
    send: impl Fn(Arc<str>) -> F,
) -> Reported {
    for _ in 0..mcp.broker.config().server.max_input_rounds {
        let Some(wanted) = wanted(incoming, &reply) else { break };
        params = match ask(mcp, incoming, &params, wanted, notes).await {
            Ok(params) => params.into(),
            Err(why) => return response::failed(incoming, &why),
        };
        reply = match send(Arc::clone(&params)).await {
            Ok(reply) => reply,
            Err(reported) => return reported,
        };
    }
    if wanted(incoming, &reply).is_some() {
        return response::failed(incoming, "the server asked for input too often");
    }
    response::of_upstream(mcp, incoming, Ok(reply)).await
}

/// The `input_required` result about which a legacy client has to be asked; none where the reply
/// is the answer.
pub(crate) fn wanted<'r>(incoming: &ClientRequest, reply: &'r Reply) -> Option<&'r str> {
    match reply {
        Reply::Result(raw) if incoming.era == WireEra::Legacy && is_input_required(raw) => {
            Some(raw)
        }
        _ => None,
    }
}

/// Asks a legacy client what an `input_required` result wants; the `params` of the next round, made
/// of those that were sent, or why the client can't be asked.
async fn ask(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: &str,
    raw: &str,
    notes: &Notifications,
) -> Result<String, String> {
    if let Some(why) = not_offered(mcp, incoming, raw) {
        return Err(why);
    }
    let node = json::parse(raw).map_err(|error| error.to_string())?;
    let mut waiting = Vec::new();
    let requests = node.get("inputRequests").and_then(Node::members).unwrap_or_default();
    for (n, request) in requests.iter().enumerate() {
        let method = request.node.get("method").and_then(Node::as_str).unwrap_or_default();
        let asked = request.node.get("params").map(|p| legacy_params(method, p, n));
        let (asked, answer) = ServerRequest::new(method, asked.as_deref());
        if notes.send(ServerMessage::Request(Box::new(asked))).await.is_err() {
            return Err("the client is gone".to_owned());
        }
        waiting.push((request.key.as_ref(), method, answer));
    }
    if waiting.is_empty() {
        tokio::time::sleep(STATE_ONLY).await;
    }
    let mut responses = Vec::with_capacity(waiting.len());
    for (key, method, answer) in waiting {
        match answer.await {
            Ok(Reply::Result(raw)) => responses.push((key, raw)),
            // An error of the client is, in the modern era, an elicitation that was cancelled.
            Ok(Reply::Error(_)) | Err(_) if method == method::ELICITATION_CREATE => {
                responses.push((key, "{\"action\":\"cancel\"}".to_owned()));
            }
            Ok(Reply::Error(_)) | Err(_) => {
                return Err(format!("the client did not answer {method}"));
            }
        }
    }
    let responses = (!responses.is_empty()).then(|| edit::with("{}", &responses));
    Ok(continued(params, responses.as_deref(), node.get("requestState").map(|s| s.raw)))
}

/// `params` with the input and the state of this round in place of those of the last.
fn continued(params: &str, responses: Option<&str>, state: Option<&str>) -> String {
    let rest = edit::without(params, &["inputResponses", "requestState"]);
    let own = [("inputResponses", responses), ("requestState", state)];
    let own: Vec<_> = own.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    edit::with(&rest, &own)
}

/// The `params` of a server request as a legacy client wants them: a page to open needs an id there,
/// which the modern era dropped
/// (<https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>).
fn legacy_params(method: &str, params: &Node<'_>, n: usize) -> String {
    let is_page = method == method::ELICITATION_CREATE
        && params.get("mode").and_then(Node::as_str) == Some("url")
        && params.get("elicitationId").is_none();
    if is_page {
        params.with(&[("elicitationId", format!("\"input-{n}\""))])
    } else {
        params.raw.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_replaces_the_input_and_the_state_of_the_last() {
        let params =
            r#"{"name":"t","inputResponses":{"a":{}},"arguments":{"n":1.00},"requestState":"1"}"#;

        assert_eq!(
            continued(params, Some(r#"{"b":{"action":"accept"}}"#), Some("\"2\"")),
            r#"{"name":"t","arguments":{"n":1.00},"inputResponses":{"b":{"action":"accept"}},"requestState":"2"}"#
        );
        assert_eq!(continued(params, None, None), r#"{"name":"t","arguments":{"n":1.00}}"#);
    }

    #[test]
    fn a_page_gets_the_id_that_legacy_clients_want() {
        let page = json::parse(r#"{"mode":"url","url":"https://x.example"}"#).unwrap();
        let form = json::parse(r#"{"mode":"form"}"#).unwrap();

        assert!(
            legacy_params("elicitation/create", &page, 0).contains("\"elicitationId\":\"input-0\"")
        );
        assert_eq!(legacy_params("elicitation/create", &form, 0), form.raw);
    }
}
