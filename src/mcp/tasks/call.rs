//! Calls of gated tools that need no people after all, made as tasks of 2025-11-25: such a client
//! reads nothing but a task, whether the call is answered at once or runs now.

use axum::http::StatusCode;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::broker::call::execute::Wishes;
use crate::broker::call::permit::Permit;
use crate::broker::call::tasks::NewTask;
use crate::domain::approval::Outcome;
use crate::domain::json;
use crate::domain::policy::Action;
use crate::domain::task::{Follows, Form, Task};
use crate::mcp::Mcp;
use crate::mcp::call::rounds;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::json_response;
use crate::mcp::response::Reported;
use crate::protocol::jsonrpc;

use super::form::owner;
use super::wire;

/// Whether a call was made as a task because Placet offered that in the list of tools.
fn is_offered(mcp: &Mcp, incoming: &ClientRequest, tool: &str) -> bool {
    let policy = mcp.broker.policies().of(&incoming.upstream);
    let (agent, upstream) = (&incoming.agent.name, &incoming.upstream);
    let rule = policy.as_ref().and_then(|p| mcp.broker.rule_for(p, upstream, agent, tool));
    rule.is_some_and(|rule| rule.action == Action::RequireApproval)
}

async fn store(
    mcp: &Mcp,
    incoming: &ClientRequest,
    tool: &str,
    answer: Option<Outcome>,
) -> Option<Task> {
    let owner = owner(incoming);
    let new = NewTask {
        agent: owner.agent.name.clone(),
        upstream: owner.upstream,
        session: incoming.session.as_ref().map(|s| s.id.clone()),
        form: Form::Core,
        tool: tool.to_owned(),
        follows: Follows::Call { node: mcp.broker.node().to_owned(), answer },
        life: mcp.broker.config().approvals.result_retention,
    };
    mcp.broker.store_task(new).await
}

fn made(mcp: &Mcp, incoming: &ClientRequest, task: Task) -> Response {
    let view = mcp.broker.new_view(task);
    let result = wire::object(&vec![("task", wire::object(&wire::core(mcp, &view)))]);
    json_response(StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), &result))
}

fn outcome((_, body): &Reported) -> Option<Outcome> {
    let node = json::parse(body).ok()?;
    let result = node.get("result").map(|r| Outcome::Result(r.raw.to_owned()));
    result.or_else(|| Some(Outcome::Error(node.get("error")?.raw.to_owned())))
}

/// Answers with what is known already; a client that made the call as a task, since Placet offered
/// it, gets it as a task that is over.
pub(crate) async fn or_task(
    mcp: &Mcp,
    incoming: &ClientRequest,
    form: Option<Form>,
    tool: &str,
    reported: Reported,
) -> Response {
    if form == Some(Form::Core)
        && is_offered(mcp, incoming, tool)
        && let Some(outcome) = outcome(&reported)
        && let Some(task) = store(mcp, incoming, tool, Some(outcome)).await
    {
        return made(mcp, incoming, task);
    }
    let (status, body) = reported;
    json_response(status, body)
}

/// Runs an allowed call behind a task.
///
/// # Errors
/// The permit itself, where the call is to run without: nobody asked for a task, or the upstream
/// makes one itself, or the agent has too many.
pub(crate) async fn behind_a_task(
    mcp: &Mcp,
    incoming: &ClientRequest,
    form: Option<Form>,
    permit: Permit,
    wishes: &Wishes,
) -> Result<Response, Permit> {
    let tool = permit.call().tool.clone();
    let (broker, upstream) = (&mcp.broker, &incoming.upstream);
    if form != Some(Form::Core)
        || !is_offered(mcp, incoming, &tool)
        || broker.takes_as_task(upstream, &tool, &incoming.caller()).await
    {
        return Err(permit);
    }
    let Some(task) = store(mcp, incoming, &tool, None).await else { return Err(permit) };
    let here = broker.runs_here(&task.id);
    let response = made(mcp, incoming, task.clone());
    let (again, asked) = (mcp.clone(), incoming.clone());
    let wishes = Wishes { tasks: None, ..wishes.clone() };
    broker.tracker().spawn(async move {
        let broker = again.broker.clone();
        let _here = here;
        let owner = owner(&asked);
        let cancel = CancellationToken::new();
        // Nobody listens to what the server says meanwhile.
        let work = rounds::send(&again, &asked, permit, &wishes, None, cancel.clone());
        tokio::pin!(work);
        let reported = tokio::select! {
            biased;
            reported = &mut work => reported,
            () = broker.task_over(&owner, &task) => {
                cancel.cancel();
                work.await
            }
            () = broker.stop().hard.cancelled() => return,
        };
        if let Some(outcome) = outcome(&reported) {
            broker.keep_answer(&task, outcome).await;
        }
    });
    Ok(response)
}
