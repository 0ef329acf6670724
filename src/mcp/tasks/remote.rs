//! Tasks of an upstream's own. Each is known to its agent by an id of ours, so that one agent
//! never reaches another's, whatever the upstream thinks of ids; everything else passes.

use std::sync::Arc;

use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::broker::call::remote::with_tasks;
use crate::broker::call::tasks::View;
use crate::domain::json::{self, Node, edit};
use crate::domain::task::{Follows, Remote, Task};
use crate::mcp::request::ClientRequest;
use crate::mcp::stream::progress::{Progress, progress_token};
use crate::mcp::stream::relay;
use crate::mcp::{Mcp, response};
use crate::protocol::method;
use crate::upstream::{Caller, Reply, Request, WireEra};

use super::adopt::{renamed, renamed_meta};
use super::wire::{self, related};

fn caller(incoming: &ClientRequest, task: &Task) -> Caller {
    Caller { session: task.session.clone(), ..incoming.caller() }
}

fn request(incoming: &ClientRequest, method: &str, params: String, progress: bool) -> Request {
    let modern = incoming.era == WireEra::Modern;
    let capabilities = modern.then(|| with_tasks("{}"));
    Request { progress, capabilities, ..Request::new(method, Some(params)) }
}

/// Passes a request about an upstream's task on, under the id it has there.
pub(crate) async fn forward(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
    task: Task,
    theirs: &str,
) -> Response {
    let method = incoming.message.method.clone();
    let token = progress_token(params);
    let raw = incoming.message.params.as_deref().unwrap_or("{}");
    let sent = edit::replaced(raw, "taskId", &json::quote(theirs));
    let sent = crate::domain::call::params_with_meta(&sent, &[]);
    let request = request(incoming, &method, sent, token.is_some());
    let progress = Progress::new(token, incoming.era, false);
    let caller = caller(incoming, &task);
    let incoming = Arc::new(incoming.clone());
    let (again, asked) = (mcp.clone(), Arc::clone(&incoming));
    let send = async move |notes, cancel| {
        let Some(server) = again.broker.upstream(&asked.upstream).cloned() else {
            return response::lost(&asked);
        };
        let reply = server.request(&caller, request, Some(notes), cancel).await;
        let reply = reply.map(|reply| match reply {
            Reply::Result(raw) if method == method::TASKS_RESULT => {
                Reply::Result(renamed_meta(&raw, &task))
            }
            Reply::Result(raw) => Reply::Result(renamed(&raw, &task)),
            error @ Reply::Error(_) => error,
        });
        response::of_upstream(&again, &asked, reply).await
    };
    relay::run(mcp, &incoming, progress, send).await
}

/// A task for the list, raw JSON: as the upstream tells of it, or as far as Placet knows it.
pub(crate) async fn listed(mcp: &Mcp, incoming: &ClientRequest, view: &View) -> String {
    let known = || wire::object(&wire::core(mcp, view));
    let Follows::Remote(theirs) = &view.task.follows else { return known() };
    let Some(server) = mcp.broker.upstream(&view.task.upstream) else { return known() };
    let params = related(theirs);
    let request = request(incoming, method::TASKS_GET, params, false);
    let caller = caller(incoming, &view.task);
    match server.request(&caller, request, None, CancellationToken::new()).await {
        Ok(Reply::Result(raw)) if Remote::got(&raw).is_some() => renamed(&raw, &view.task),
        _ => known(),
    }
}
