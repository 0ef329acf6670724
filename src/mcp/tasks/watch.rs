//! Tells of tasks without being asked: `notifications/tasks` on a subscription that names them,
//! `notifications/tasks/status` on the stream of a session of 2025-11-25. Who listens for a task
//! waits for it as if it looked.
//!
//! <https://modelcontextprotocol.io/extensions/tasks/overview>,
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#task-status-notification>

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::broker::call::tasks::{Owner, TaskError};
use crate::config::Agent;
use crate::domain::approval::ApprovalId;
use crate::domain::json::{self, Node, edit};
use crate::domain::task::{Follows, Form, Status};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::stream::Events;
use crate::protocol::{jsonrpc, meta, method, version};
use crate::store::ClientSession;

use super::errors::{failed, undeclared};
use super::form::{declares_extension, owner};
use super::{extension, wire};

/// Most tasks that one subscription hears of; more are not acknowledged.
pub(crate) const MAX_WATCHED: usize = 100;
/// Most tasks of an agent that its session's stream tells of, the newest.
const TOLD: u32 = 50;
/// The time between two looks where no hint comes: another broker may have changed something.
const NET: Duration = Duration::from_secs(1);
/// The least time between two looks, however many hints come.
const PAUSE: Duration = Duration::from_millis(100);

/// The tasks of a subscription.
pub(crate) struct Watch {
    owner: Owner,
    ids: Vec<String>,
    wanted: bool,
}

/// The tasks a `subscriptions/listen` asks for, as far as they are the agent's own and not an
/// upstream's.
///
/// # Errors
/// The response that refuses the subscription: the extension was not declared, or the store fails.
pub(crate) async fn watched(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Result<Watch, Response> {
    let owner = owner(incoming);
    let wanted = params.and_then(|p| p.get("notifications")?.get("taskIds"));
    let mut watch = Watch { owner, ids: Vec::new(), wanted: wanted.is_some() };
    let Some(wanted) = wanted.and_then(Node::elements) else { return Ok(watch) };
    if !declares_extension(params) {
        return Err(undeclared(incoming));
    }
    for id in wanted.iter().filter_map(Node::as_str).take(MAX_WATCHED) {
        match mcp.broker.peek_at_task(&watch.owner, id).await {
            Ok(view) if matches!(view.task.follows, Follows::Remote(_)) => {}
            Ok(_) => watch.ids.push(id.to_owned()),
            Err(TaskError::Unknown) => {}
            Err(error) => return Err(failed(incoming, &error)),
        }
    }
    Ok(watch)
}

impl Watch {
    /// The ids of the tasks that are told of, for the acknowledgement: a raw JSON array; none where
    /// no tasks were asked for.
    pub(crate) fn honoured(&self) -> Option<String> {
        self.wanted.then(|| json::array(self.ids.iter().map(|id| json::quote(id))))
    }

    /// Tells of changes until the stream is over, or every task is.
    pub(crate) async fn run(mut self, mcp: Mcp, incoming: ClientRequest, events: Events) {
        let subscription = incoming.message.id_raw().to_owned();
        let mut hints = mcp.broker.hints().listen();
        let mut told: HashMap<String, (Status, Option<String>)> = HashMap::new();
        let every = mcp.broker.config().approvals.task_poll_interval;
        let mut look = Instant::now();
        while !self.ids.is_empty() {
            let looks = Instant::now() >= look;
            if looks {
                look = Instant::now() + every;
            }
            let mut over = Vec::new();
            for id in &self.ids {
                let seen = if looks {
                    mcp.broker.look_at_task(&self.owner, id).await
                } else {
                    mcp.broker.peek_at_task(&self.owner, id).await
                };
                let view = match seen {
                    Ok(view) => view,
                    Err(TaskError::Unknown) => {
                        over.push(id.clone());
                        continue;
                    }
                    Err(_) => continue,
                };
                if view.status.is_terminal() {
                    over.push(id.clone());
                }
                let now = (view.status, view.input_requests.clone());
                let before = told.insert(id.clone(), now.clone());
                if before.unwrap_or((Status::Working, None)) == now {
                    continue;
                }
                let (task, tale) = extension::detailed(&mcp, &incoming, &view).await;
                let task = edit::with_meta(&task, &[(meta::SUBSCRIPTION_ID, &subscription)]);
                let note = jsonrpc::notification(method::NOTIFICATIONS_TASKS, Some(&task));
                if !events.message(&note).await {
                    return;
                }
                if let Some(tale) = tale {
                    tale.handed_over();
                }
            }
            self.ids.retain(|id| !over.contains(id));
            if !wait(&mcp, &events, &mut hints).await {
                return;
            }
        }
    }
}

/// Waits for a change; false once nobody listens any more.
async fn wait(mcp: &Mcp, events: &Events, hints: &mut broadcast::Receiver<ApprovalId>) -> bool {
    let hint = async {
        tokio::time::sleep(PAUSE).await;
        // Whatever it says: something may have changed.
        let _ = hints.recv().await;
    };
    tokio::select! {
        biased;
        () = events.closed() => false,
        () = mcp.broker.stop().soft.cancelled() => false,
        _ = tokio::time::timeout(NET, hint) => true,
    }
}

/// Tells a session of 2025-11-25 how its agent's tasks go on.
pub(crate) async fn tell_session(
    mcp: Mcp,
    agent: Arc<Agent>,
    session: Arc<ClientSession>,
    events: Events,
) {
    if session.version != version::V2025_11_25 {
        return;
    }
    let owner = Owner { agent, upstream: session.upstream.clone(), form: Form::Core };
    let mut hints = mcp.broker.hints().listen();
    let mut told: HashMap<String, Status> = HashMap::new();
    let opened = mcp.broker.now();
    loop {
        if let Ok((views, _)) = mcp.broker.list_tasks(&owner, None, TOLD).await {
            let mut now = HashMap::new();
            for view in views {
                let id = view.task.id.to_string();
                // What is new began as working, whatever it is when it is first seen here.
                let is_new = view.task.created_at >= opened;
                let before = told.get(&id).copied().or(is_new.then_some(Status::Working));
                if before.is_some_and(|before| before != view.status) {
                    let task = wire::object(&wire::core(&mcp, &view));
                    let note =
                        jsonrpc::notification(method::NOTIFICATIONS_TASKS_STATUS, Some(&task));
                    events.try_message(&note);
                }
                now.insert(id, view.status);
            }
            told = now;
        }
        if !wait(&mcp, &events, &mut hints).await {
            return;
        }
    }
}
