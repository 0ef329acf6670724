//! A call that may take several rounds: where its server wants input, the client is asked for it
//! and the call goes up again.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::broker::call::asking::Asking;
use crate::broker::call::execute::Wishes;
use crate::broker::call::permit::{Permit, Renewal};
use crate::broker::call::refusals::unavailable_upstream;
use crate::broker::call::submit::Submission;
use crate::domain::call::{Method, ToolCall};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::response::{self, Reported};
use crate::protocol::{code, jsonrpc};
use crate::upstream::{Notifications, Reply, UpstreamError};

use super::input_required;

/// Sends an allowed call; its answer in the client's terms.
pub(crate) async fn send(
    mcp: &Mcp,
    incoming: &ClientRequest,
    permit: Permit,
    wishes: &Wishes,
    notes: Option<Notifications>,
    cancel: CancellationToken,
) -> Reported {
    let method = permit.call().method;
    match mcp.broker.dispatch(permit, &incoming.caller(), wishes, notes, cancel).await {
        Err(UpstreamError::NotSent(why)) if method == Method::CallTool => {
            tracing::warn!(upstream = %incoming.upstream, "a call was not sent: {why}");
            response::said(incoming, &unavailable_upstream(&incoming.upstream))
        }
        reply => response::of_upstream(mcp, incoming, reply).await,
    }
}

/// A call that may take several rounds: where the server wants input, a legacy client is asked
/// for it here and the call goes up again; a modern one makes the next round itself.
pub(crate) struct Rounds {
    pub(crate) mcp: Mcp,
    pub(crate) incoming: Arc<ClientRequest>,
    pub(crate) wishes: Wishes,
    /// What the server says, and what the client is asked.
    pub(crate) notes: Notifications,
    pub(crate) cancel: CancellationToken,
}

impl Rounds {
    /// Sends the call and answers what its rounds come to.
    pub(crate) async fn run(&self, permit: Permit) -> Reported {
        let (params, renewal) = (Arc::clone(&permit.call().params), permit.renewal());
        match self.send(permit).await {
            Ok(reply) => self.go_on(params, reply, renewal).await,
            Err(reported) => reported,
        }
    }

    async fn send(&self, permit: Permit) -> Result<Reply, Reported> {
        let (broker, incoming) = (&self.mcp.broker, &self.incoming);
        let (notes, cancel) = (Some(self.notes.clone()), self.cancel.clone());
        let method = permit.call().method;
        match broker.dispatch(permit, &incoming.caller(), &self.wishes, notes, cancel).await {
            Ok(reply) => Ok(reply),
            Err(UpstreamError::NotSent(why)) if method == Method::CallTool => {
                tracing::warn!(upstream = %incoming.upstream, "a call was not sent: {why}");
                Err(response::said(incoming, &unavailable_upstream(&incoming.upstream)))
            }
            Err(error) => Err(response::of_upstream(&self.mcp, incoming, Err(error)).await),
        }
    }

    /// The same from the first reply on, where `params` (raw JSON) were sent already.
    pub(crate) async fn go_on(
        &self,
        params: Arc<str>,
        reply: Reply,
        renewal: Option<Renewal>,
    ) -> Reported {
        let renewal = renewal.as_ref();
        let again = move |params: Arc<str>| async move {
            let permit = match renewal.and_then(|r| r.permit(&params)) {
                Some(permit) => permit,
                None => self.submit(&params).await?,
            };
            self.send(permit).await
        };
        input_required::rounds(&self.mcp, &self.incoming, params, reply, &self.notes, again).await
    }

    /// Submits a further round: an approved call carries its proof in `requestState`, and is judged
    /// like any other call.
    async fn submit(&self, params: &Arc<str>) -> Result<Permit, Reported> {
        let invalid = |why: &str| {
            let id = self.incoming.message.id_raw();
            (StatusCode::OK, jsonrpc::error(id, code::INVALID_PARAMS, why, None))
        };
        let method = Method::parse(&self.incoming.message.method).unwrap_or(Method::CallTool);
        let call = ToolCall::read_shared(method, &self.incoming.upstream, params)
            .map_err(|error| invalid(&error.to_string()))?;
        match self.mcp.broker.submit(asking(&self.incoming, call)).await {
            Submission::Forward(permit) => Ok(permit),
            Submission::Answered(answer) | Submission::Ended { answer, .. } => {
                Err(response::of_call(&self.mcp, &self.incoming, answer).await)
            }
            Submission::Invalid(why) => Err(invalid(&why)),
            Submission::UnknownTool => Err(invalid("the tool is gone")),
            Submission::Held(_) => Err(invalid("the call needs approval now: call again")),
        }
    }
}

/// What the broker is asked for this call.
pub(crate) fn asking(incoming: &ClientRequest, call: ToolCall) -> Asking {
    Asking {
        agent: incoming.agent.clone(),
        client: incoming.client.clone(),
        session: incoming.session.as_ref().map(|s| s.id.clone()),
        session_began: incoming.session.as_ref().map(|s| s.created_at),
        features: incoming.features.clone(),
        call,
        waits_for: None,
    }
}
