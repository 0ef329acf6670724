//! A call, be it of a tool or a prompt or the read of a resource: submitted to the broker, then
//! answered, forwarded, or held.

use axum::http::StatusCode;
use axum::response::Response;

use tokio_util::sync::CancellationToken;

use crate::broker::admit::Admission;
use crate::broker::asking::Asking;
use crate::broker::execute::Wishes;
use crate::broker::permit::{Permit, Renewal};
use crate::broker::refusals::unavailable_upstream;
use crate::broker::submit::Submission;
use crate::domain::call::{CallError, Method, ToolCall};
use crate::domain::json::{self, Node};
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::{Notifications, Reply, UpstreamError};

use super::answer::Reported;
use super::http::Incoming;
use super::page::{self, Way};
use super::stream::{Progress, json_response, progress_token};
use super::{Mcp, answer, exchange, hold, input, shown, standing, tasks, wait};

pub(super) async fn call(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    let id = incoming.message.id_raw();
    let invalid = |text: &str| {
        json_response(StatusCode::OK, jsonrpc::error(id, code::INVALID_PARAMS, text, None))
    };
    let text = incoming.message.params.as_deref().unwrap_or("null");
    let method = Method::parse(&incoming.message.method).unwrap_or(Method::CallTool);
    let call = match ToolCall::read_as(method, &incoming.upstream, text) {
        Ok(call) => call,
        Err(CallError::Json(error)) => {
            let error = jsonrpc::error(id, code::INVALID_REQUEST, &error.to_string(), None);
            return json_response(StatusCode::BAD_REQUEST, error);
        }
        Err(error) => return invalid(&error.to_string()),
    };
    let tool = call.tool.clone();
    if incoming.upstream.is_empty() {
        let (status, body) = answer::unknown(&incoming, method, &tool);
        return json_response(status, body);
    }
    let waits = match wait::asked(mcp, &incoming, &call).transpose() {
        Ok(waits) => waits,
        Err(why) => return invalid(&why),
    };
    let mut asking = asking(&incoming, call);
    let again = page::taken(mcp, &incoming, &mut asking);
    let by_id = waits.is_some();
    let token = progress_token(params);
    let form = tasks::form_of(&incoming, params);
    let (log_level, filter) = standing::level_of(mcp, &incoming, params).await;
    let wishes = Wishes { progress: token.is_some(), log_level, tasks: form };
    let progress = Progress::new(token, incoming.era, wishes.log_level.is_some()).logging(filter);
    // Not in the request's own future: a client that leaves while the call is stored would leave
    // it attached for good.
    let broker = mcp.broker.clone();
    let submitted = mcp.broker.tracker().spawn(async move {
        match waits {
            Some(waiting) => broker
                .wait(waiting)
                .await
                .unwrap_or_else(|| Submission::Invalid(wait::NO_APPROVAL.to_owned())),
            None => broker.submit(asking).await,
        }
    });
    let Ok(submission) = submitted.await else {
        let (status, body) = answer::lost(&incoming);
        return json_response(status, body);
    };
    match submission {
        Submission::UnknownTool => {
            let (status, body) = answer::unknown(&incoming, method, &tool);
            json_response(status, body)
        }
        Submission::Invalid(why) => invalid(&why),
        Submission::Answered(answer) => {
            let reported = answer::of_call(mcp, &incoming, answer).await;
            tasks::or_task(mcp, &incoming, form, &tool, reported).await
        }
        Submission::Ended { answer, owed } => {
            let reported = answer::of_call(mcp, &incoming, answer).await;
            let response = tasks::or_task(mcp, &incoming, form, &tool, reported).await;
            if let Some(owed) = owed {
                owed.handed_over();
            }
            response
        }
        Submission::Forward(permit) => {
            match tasks::behind_a_task(mcp, &incoming, form, permit, &wishes).await {
                Ok(response) => response,
                Err(permit) => forward(mcp, &incoming, permit, wishes, progress).await,
            }
        }
        Submission::Held(held) => {
            let mut held = held;
            if let Some(form) = form {
                match tasks::create(mcp, &incoming, *held, form).await {
                    Ok(response) => return response,
                    Err(back) => held = back,
                }
            }
            let way = if by_id { Way::None } else { page::way(mcp, &incoming, &held, again).await };
            if way.is_first_round() {
                return page::open(mcp, &incoming, *held).await;
            }
            hold::run(mcp, incoming, *held, wishes, progress, way).await
        }
    }
}

/// An allowed call goes upstream now.
async fn forward(
    mcp: &Mcp,
    incoming: &Incoming,
    permit: Permit,
    wishes: Wishes,
    progress: Progress,
) -> Response {
    let (again, asked) = (mcp.clone(), incoming.clone());
    let send = async move |notes: Notifications, cancel| {
        let rounds = Rounds { mcp: again, incoming: asked, wishes, notes, cancel };
        rounds.run(permit).await
    };
    exchange::run(mcp, incoming, progress, send).await
}

/// Sends an allowed call; its answer in the client's terms.
pub(super) async fn send(
    mcp: &Mcp,
    incoming: &Incoming,
    permit: Permit,
    wishes: &Wishes,
    notes: Option<Notifications>,
    cancel: CancellationToken,
) -> Reported {
    let method = permit.call().method;
    match mcp.broker.dispatch(permit, &incoming.caller(), wishes, notes, cancel).await {
        Err(UpstreamError::NotSent(why)) if method == Method::CallTool => {
            tracing::warn!(upstream = %incoming.upstream, "a call was not sent: {why}");
            answer::said(incoming, &unavailable_upstream(&incoming.upstream))
        }
        reply => answer::of_upstream(mcp, incoming, reply).await,
    }
}

/// Refuses a request about a resource or a prompt, other than the call itself, that the policy
/// does not let through; none where it passes.
pub(super) async fn refusal(mcp: &Mcp, incoming: &Incoming) -> Option<Response> {
    let by = incoming.message.method.as_str();
    let answered = |(status, body)| Some(json_response(status, body));
    let (kind, name) = shown::subject(by, incoming.message.params.as_deref())?;
    let (key, text) = match kind {
        Method::ReadResource => ("uri", &name),
        _ => ("name", &name),
    };
    let params = json::object([(key, json::quote(text).as_str())]);
    let Ok(call) = ToolCall::read_as(kind, &incoming.upstream, &params) else {
        return answered(answer::unknown(incoming, kind, &name));
    };
    match mcp.broker.admit(&asking(incoming, call), by, by == method::RESOURCES_SUBSCRIBE).await {
        Admission::Passes => None,
        Admission::Unknown => answered(answer::unknown(incoming, kind, &name)),
        // What was subscribed to may be given up whatever the policy says now.
        Admission::Said(_) if by == method::RESOURCES_UNSUBSCRIBE => None,
        Admission::Said(statement) => answered(answer::said(incoming, &statement)),
    }
}

/// A call that may take several rounds: where the server wants input, a legacy client is asked
/// for it here and the call goes up again; a modern one makes the next round itself.
pub(super) struct Rounds {
    pub(super) mcp: Mcp,
    pub(super) incoming: Incoming,
    pub(super) wishes: Wishes,
    /// What the server says, and what the client is asked.
    pub(super) notes: Notifications,
    pub(super) cancel: CancellationToken,
}

impl Rounds {
    /// From the first round on.
    async fn run(&self, permit: Permit) -> Reported {
        let (params, renewal) = (permit.call().params.clone(), permit.renewal());
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
                Err(answer::said(incoming, &unavailable_upstream(&incoming.upstream)))
            }
            Err(error) => Err(answer::of_upstream(&self.mcp, incoming, Err(error)).await),
        }
    }

    /// From this reply on, to `params` as they were sent.
    pub(super) async fn go_on(
        &self,
        params: String,
        reply: Reply,
        renewal: Option<Renewal>,
    ) -> Reported {
        let renewal = renewal.as_ref();
        let again = move |params: String| async move {
            let permit = match renewal.and_then(|r| r.permit(&params)) {
                Some(permit) => permit,
                None => self.submit(&params).await?,
            };
            self.send(permit).await
        };
        input::rounds(&self.mcp, &self.incoming, params, reply, &self.notes, again).await
    }

    /// An approved call carries its proof in `requestState`, which is judged like any other's.
    async fn submit(&self, params: &str) -> Result<Permit, Reported> {
        let invalid = |why: &str| {
            let id = self.incoming.message.id_raw();
            (StatusCode::OK, jsonrpc::error(id, code::INVALID_PARAMS, why, None))
        };
        let method = Method::parse(&self.incoming.message.method).unwrap_or(Method::CallTool);
        let call = ToolCall::read_as(method, &self.incoming.upstream, params)
            .map_err(|error| invalid(&error.to_string()))?;
        match self.mcp.broker.submit(asking(&self.incoming, call)).await {
            Submission::Forward(permit) => Ok(permit),
            Submission::Answered(answer) | Submission::Ended { answer, .. } => {
                Err(answer::of_call(&self.mcp, &self.incoming, answer).await)
            }
            Submission::Invalid(why) => Err(invalid(&why)),
            Submission::UnknownTool => Err(invalid("the tool is gone")),
            Submission::Held(_) => Err(invalid("the call needs approval now: call again")),
        }
    }
}

fn asking(incoming: &Incoming, call: ToolCall) -> Asking {
    Asking {
        agent: incoming.agent.clone(),
        client: incoming.client.clone(),
        session: incoming.session.as_ref().map(|s| s.id.clone()),
        features: incoming.features.clone(),
        call,
        waits_for: None,
    }
}
