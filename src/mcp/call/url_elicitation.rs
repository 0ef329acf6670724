//! A client that opens pages for its user (URL elicitation) is sent to the page of the approval
//! that its call waits for. The page decides for nobody who is not signed in as a reviewer; that
//! somebody agreed to open it is no decision.
//!
//! A modern client is told by an `input_required` result, and each of its next rounds is held; a
//! legacy one is asked by `elicitation/create` on the stream of the held call.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>,
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr>

use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::oneshot;

use crate::broker::call::answer::{Answer, Code, Statement, pending};
use crate::broker::call::asking::Asking;
use crate::broker::call::hold::Held;
use crate::broker::call::url_elicitation::Waits;
use crate::domain::approval::{Approval, State};
use crate::domain::call::Method;
use crate::domain::json::{self, Node};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::json_response;
use crate::mcp::response::{self, Reported};
use crate::protocol::{jsonrpc, meta, method, version};
use crate::upstream::{Reply, ServerRequest, WireEra};

/// Name of the request to open the page among `inputRequests`.
const KEY: &str = "approval";
/// How the user of a held call is sent to its page.
#[derive(Debug, Clone)]
pub(crate) enum PageRoute {
    /// It is not: the call is only held.
    None,
    /// The modern client waits in rounds; this one is held.
    Rounds {
        /// What it waits for.
        approval: Box<Approval>,
        /// Number of the round, counted from 1; 0 before the client was told of the page.
        round: u32,
        /// Whether its user does not want the page: the attempt ends.
        declined: bool,
    },
    /// The legacy client is asked on its stream.
    Asked {
        /// What it waits for.
        approval: Box<Approval>,
        /// Whether it was not asked before.
        first: bool,
    },
}

/// A modern call that goes on waiting: for which approval, and whether its user declined the page.
pub(crate) struct Again {
    waits: Waits,
    declined: bool,
}

/// Takes out of a modern call what it says it waits for; none where it begins anew.
pub(crate) fn taken(mcp: &Mcp, incoming: &ClientRequest, asking: &mut Asking) -> Option<Again> {
    if incoming.era != WireEra::Modern {
        return None;
    }
    let (waits, call) = mcp.broker.waits(&asking.agent.name, &asking.call)?;
    let params = json::parse(&asking.call.params).ok();
    let answer = params.as_ref().and_then(|p| p.get("inputResponses")?.get(KEY));
    let declined = answer.is_some_and(is_declined);
    asking.call = call;
    asking.waits_for = Some(waits.approval.clone());
    Some(Again { waits, declined })
}

fn is_declined(result: &Node<'_>) -> bool {
    matches!(result.get("action").and_then(Node::as_str), Some("decline" | "cancel"))
}

/// How the user of this held call is sent to its page.
pub(crate) async fn way(
    mcp: &Mcp,
    incoming: &ClientRequest,
    held: &Held,
    again: Option<Again>,
) -> PageRoute {
    let approval = || Box::new(held.approval().clone());
    if let Some(Again { waits, declined }) = again {
        return PageRoute::Rounds { approval: approval(), round: waits.round, declined };
    }
    let offers = incoming.features.offer(method::ELICITATION_CREATE, Some("{\"mode\":\"url\"}"));
    let waits = held.approval().state == State::Pending;
    if !incoming.agent.url_elicitation || !offers || !waits {
        return PageRoute::None;
    }
    match incoming.era {
        WireEra::Modern => {
            if mcp.broker.opens_page(held.approval()).await {
                PageRoute::Rounds { approval: approval(), round: 0, declined: false }
            } else {
                PageRoute::None
            }
        }
        WireEra::Legacy => {
            let version = incoming.session.as_ref().map(|s| s.version.as_str());
            if !incoming.streams || version != Some(version::V2025_11_25) {
                return PageRoute::None;
            }
            let first = mcp.broker.opens_page(held.approval()).await;
            PageRoute::Asked { approval: approval(), first }
        }
    }
}

impl PageRoute {
    /// Whether the client is to be told of the page before anything is held.
    pub(crate) fn is_first_round(&self) -> bool {
        matches!(self, Self::Rounds { round: 0, .. })
    }

    /// Whether the user does not want the page, so that the call does not wait.
    pub(crate) fn is_declined(&self) -> bool {
        matches!(self, Self::Rounds { declined: true, .. })
    }

    /// The answer of a hold in this way: as it is, or the next round of one that goes on.
    pub(crate) async fn answer(
        &self,
        mcp: &Mcp,
        incoming: &ClientRequest,
        answer: Answer,
    ) -> Reported {
        if let (Self::Rounds { approval, round, declined: false }, Answer::Statement(said)) =
            (self, &answer)
            && said.code == Code::ApprovalPending
            && *round < mcp.broker.config().approvals.page_rounds
            // A client that comes back to a broker that stops would find nobody.
            && !mcp.broker.stopping()
        {
            return next_round(mcp, incoming, approval, round + 1, said);
        }
        response::of_call(mcp, incoming, answer).await
    }
}

/// Lets the request go, for the page to be opened. The user's next round is held.
pub(crate) async fn open(mcp: &Mcp, incoming: &ClientRequest, held: Held) -> Response {
    let approval = held.approval().clone();
    held.let_go().await;
    let statement = pending(&approval, page_of(mcp, &approval), mcp.broker.now());
    let (status, body) = next_round(mcp, incoming, &approval, 1, &statement);
    json_response(status, body)
}

/// An `input_required` result: the first one names the page, the others only want to be brought
/// back, so that nobody is asked twice.
fn next_round(
    mcp: &Mcp,
    incoming: &ClientRequest,
    approval: &Approval,
    round: u32,
    said: &Statement,
) -> Reported {
    let state = json::quote(&mcp.broker.wait_state(approval, round));
    let meta = json::object([(meta::DECISION, said.decision_json().as_str())]);
    let mut members = vec![("resultType", "\"input_required\"".to_owned())];
    if round == 1 {
        let params = json::object([
            ("mode", "\"url\""),
            ("url", json::quote(&page_of(mcp, approval)).as_str()),
            ("message", &json::quote(&message(approval))),
        ]);
        let request = json::object([("method", "\"elicitation/create\""), ("params", &params)]);
        members.push(("inputRequests", json::object([(KEY, request.as_str())])));
    }
    members.extend([("requestState", state), ("_meta", meta)]);
    let result = json::object(members.iter().map(|(k, v)| (*k, v.as_str())));
    (StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), &result))
}

fn page_of(mcp: &Mcp, approval: &Approval) -> String {
    mcp.broker.config().link(&format!("/approvals/{}", approval.id))
}

fn message(approval: &Approval) -> String {
    let what = match approval.call.method {
        Method::CallTool => "The tool call",
        Method::GetPrompt => "The prompt",
        Method::ReadResource => "The read of",
    };
    format!(
        "{what} {} needs the approval of a reviewer. The page shows what would run; who may decide \
         signs in there.",
        approval.call.title()
    )
}

/// The server request that sends a legacy client to the page, and where its answer comes.
pub(crate) fn question(
    mcp: &Mcp,
    approval: &Approval,
) -> (ServerRequest, oneshot::Receiver<Reply>) {
    let params = json::object([
        ("mode", "\"url\""),
        ("elicitationId", json::quote(approval.id.as_str()).as_str()),
        ("url", &json::quote(&page_of(mcp, approval))),
        ("message", &json::quote(&message(approval))),
    ]);
    ServerRequest::new(method::ELICITATION_CREATE, Some(&params))
}

/// Whether a legacy client's answer says that its user does not want the page. A client that
/// fails to show one says nothing of the user.
pub(crate) fn declines(reply: &Reply) -> bool {
    let Reply::Result(raw) = reply else { return false };
    json::parse(raw).is_ok_and(|result| is_declined(&result))
}

/// The notification that there is nothing more to do on the page
/// (<https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation#completion-notifications-for-url-mode-elicitation>).
pub(crate) fn complete(approval: &Approval) -> String {
    let params = json::object([("elicitationId", json::quote(approval.id.as_str()).as_str())]);
    jsonrpc::notification(method::NOTIFICATIONS_ELICITATION_COMPLETE, Some(&params))
}
