//! A call, be it of a tool or a prompt or the read of a resource: submitted to the broker, then
//! answered, forwarded, or held.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::call::execute::Wishes;
use crate::broker::call::permit::Permit;
use crate::broker::call::submit::Submission;
use crate::domain::call::{CallError, Method, ToolCall};
use crate::domain::json::Node;
use crate::domain::task::Form;
use crate::mcp::stream::progress::{Progress, progress_token};
use crate::protocol::{code, jsonrpc};
use crate::upstream::Notifications;

use super::request::ClientRequest;
use super::respond::json_response;
use super::session::subscriptions;
use super::stream::relay;
use super::tasks::{self, form};
use super::{Mcp, response};
use rounds::{Rounds, asking};
use url_elicitation::PageRoute;

pub(crate) mod admission;
pub(crate) mod hold;
pub(crate) mod input_required;
pub(crate) mod rounds;
pub(crate) mod url_elicitation;
pub(crate) mod wait_tool;

/// Answers a call: its answer at once, a task to follow, or a request that is held.
pub(crate) async fn call(mcp: &Mcp, incoming: ClientRequest, params: Option<Node<'_>>) -> Response {
    let id = incoming.message.id_raw();
    let invalid = |text: &str| {
        json_response(StatusCode::OK, jsonrpc::error(id, code::INVALID_PARAMS, text, None))
    };
    let text = match &incoming.message.params {
        Some(text) => Arc::clone(text.shared()),
        None => Arc::from("null"),
    };
    let method = Method::parse(&incoming.message.method).unwrap_or(Method::CallTool);
    let read = match &params {
        Some(node) => ToolCall::of_read(method, &incoming.upstream, &text, node),
        None => ToolCall::read_shared(method, &incoming.upstream, &text),
    };
    let call = match read {
        Ok(call) => call,
        Err(CallError::Json(error)) => {
            let error = jsonrpc::error(id, code::INVALID_REQUEST, &error.to_string(), None);
            return json_response(StatusCode::BAD_REQUEST, error);
        }
        Err(error) => return invalid(&error.to_string()),
    };
    if incoming.upstream.is_empty() {
        let (status, body) = response::unknown(&incoming, method, &call.tool);
        return json_response(status, body);
    }
    let waits = match wait_tool::asked(mcp, &incoming, &call).transpose() {
        Ok(waits) => waits,
        Err(why) => return invalid(&why),
    };
    let mut asking = asking(&incoming, call);
    let continues = params.as_ref().is_some_and(|p| p.get("requestState").is_some());
    let again = continues.then(|| url_elicitation::taken(mcp, &incoming, &mut asking)).flatten();
    let by_id = waits.is_some();
    let token = progress_token(params.as_ref());
    let form = form::form_of(&incoming, params.as_ref());
    let (log_level, filter) = subscriptions::level_of(mcp, &incoming, params.as_ref()).await;
    let at_once = match &params {
        Some(params) if !by_id && asking.waits_for.is_none() => {
            mcp.broker.forward_at_once(asking, params)
        }
        _ => Err(Box::new(asking)),
    };
    // What was looked at may take several times the text, and the answer may take long.
    drop(params);
    let wishes = Wishes { progress: token.is_some(), log_level, tasks: form };
    let progress = Progress::new(token, incoming.era, wishes.log_level.is_some()).logging(filter);
    let asking = match at_once {
        Ok(permit) => return let_through(mcp, incoming, form, permit, wishes, progress).await,
        Err(asking) => *asking,
    };
    let tool = asking.call.tool.clone();
    // Not in the request's own future: a client that leaves while the call is stored would leave
    // it attached for good.
    let broker = mcp.broker.clone();
    let submitted = mcp.broker.tracker().spawn(async move {
        match waits {
            Some(waiting) => broker
                .wait(waiting)
                .await
                .unwrap_or_else(|| Submission::Invalid(wait_tool::NO_APPROVAL.to_owned())),
            None => broker.submit(asking).await,
        }
    });
    let Ok(submission) = submitted.await else {
        let (status, body) = response::lost(&incoming);
        return json_response(status, body);
    };
    match submission {
        Submission::UnknownTool => {
            let (status, body) = response::unknown(&incoming, method, &tool);
            json_response(status, body)
        }
        Submission::Invalid(why) => invalid(&why),
        Submission::Answered(answer) => {
            let reported = response::of_call(mcp, &incoming, answer).await;
            tasks::or_task(mcp, &incoming, form, &tool, reported).await
        }
        Submission::Ended { answer, owed } => {
            let reported = response::of_call(mcp, &incoming, answer).await;
            let response = tasks::or_task(mcp, &incoming, form, &tool, reported).await;
            if let Some(owed) = owed {
                owed.handed_over();
            }
            response
        }
        Submission::Forward(permit) => {
            let_through(mcp, incoming, form, permit, wishes, progress).await
        }
        Submission::Held(held) => {
            let mut held = held;
            if let Some(form) = form {
                match tasks::create(mcp, &incoming, *held, form).await {
                    Ok(response) => return response,
                    Err(back) => held = back,
                }
            }
            let way = if by_id {
                PageRoute::None
            } else {
                url_elicitation::way(mcp, &incoming, &held, again).await
            };
            if way.is_first_round() {
                return url_elicitation::open(mcp, &incoming, *held).await;
            }
            hold::run(mcp, incoming, *held, wishes, progress, way).await
        }
    }
}

/// An allowed call goes upstream now; behind a task, where its client asked for one.
async fn let_through(
    mcp: &Mcp,
    incoming: ClientRequest,
    form: Option<Form>,
    permit: Permit,
    wishes: Wishes,
    progress: Progress,
) -> Response {
    let permit = match form {
        None => permit,
        Some(form) => {
            match tasks::behind_a_task(mcp, &incoming, Some(form), permit, &wishes).await {
                Ok(response) => return response,
                Err(permit) => permit,
            }
        }
    };
    let incoming = Arc::new(incoming);
    let (again, asked) = (mcp.clone(), Arc::clone(&incoming));
    let send = async move |notes: Notifications, cancel| {
        let rounds = Rounds { mcp: again, incoming: asked, wishes, notes, cancel };
        rounds.run(permit).await
    };
    relay::run(mcp, &incoming, progress, send).await
}
