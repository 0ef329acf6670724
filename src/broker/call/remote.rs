//! A server that answers an approved call with a task of its own: followed to its end under the
//! same claim, so that the outcome is the call's and not a handle to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::approval::{Approval, Outcome};
use crate::domain::call::{Method, ToolCall, params_without_task};
use crate::domain::json::{self, Node, edit};
use crate::domain::task::{Form, Remote, Status};
use crate::protocol::{TASKS_EXTENSION, code, jsonrpc, method, version};
use crate::upstream::{
    Caller, Gate, Reply, Request, ServerFacts, Upstream, UpstreamError, WireEra,
};

use super::changes::POLL;
use crate::broker::Broker;

/// The shortest pause between two polls, whatever the server asks for.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest pause between two polls.
const LONGEST: Duration = Duration::from_secs(30);
/// The pause where the server names none.
const USUAL: Duration = Duration::from_secs(1);
/// The error message for a task that the server cancelled by itself.
const ENDED_THERE: &str = "the server ended its task";

/// The capabilities with the addition that tasks are followed:
/// <https://modelcontextprotocol.io/extensions/tasks/overview>.
pub(crate) fn with_tasks(capabilities: &str) -> String {
    let extensions = json::object([(TASKS_EXTENSION, "{}")]);
    edit::with(capabilities, &[("extensions", extensions)])
}

/// Whether a server of 2025-11-25 takes calls as tasks.
pub(crate) fn takes_core_tasks(facts: &ServerFacts) -> bool {
    let Ok(node) = json::parse(&facts.capabilities) else { return false };
    let call = node.get("tasks").and_then(|t| t.get("requests")?.get("tools")?.get("call"));
    facts.era == WireEra::Legacy && facts.version == version::V2025_11_25 && call.is_some()
}

impl Broker {
    /// Whether an upstream of 2025-11-25 takes calls of this tool as tasks.
    pub async fn takes_as_task(&self, upstream: &str, tool: &str, caller: &Caller) -> bool {
        let Some(server) = self.upstream(upstream) else { return false };
        let Some(tool) = server.catalog().and_then(|c| c.find(tool).cloned()) else { return false };
        let supports = json::parse(&tool.raw).ok().is_some_and(|node| {
            let said = node.get("execution").and_then(|e| e.get("taskSupport"));
            matches!(said.and_then(Node::as_str), Some("optional" | "required"))
        });
        supports && server.facts(caller).await.is_ok_and(|facts| takes_core_tasks(&facts))
    }

    /// `params` as the upstream gets them. The member `task` goes to a server of 2025-11-25 only if
    /// the server takes calls of this tool as tasks and the client follows them:
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>.
    pub(in crate::broker) async fn outgoing(
        &self,
        call: &ToolCall,
        caller: &Caller,
        tasks: Option<Form>,
    ) -> Arc<str> {
        let params = call.params_to_send();
        if call.method != Method::CallTool {
            return params;
        }
        let Some(without) = params_without_task(&params).map(Arc::from) else { return params };
        if tasks == Some(Form::Core) && self.takes_as_task(&call.upstream, &call.tool, caller).await
        {
            return params;
        }
        let Some(server) = self.upstream(&call.upstream) else { return without };
        match server.facts(caller).await {
            // A modern server ignores the member.
            Ok(facts) if facts.era == WireEra::Modern => params,
            _ => without,
        }
    }
}

/// A task at an upstream that is being followed.
pub(in crate::broker) struct Followed {
    broker: Broker,
    server: Arc<dyn Upstream>,
    caller: Caller,
    claimed: Approval,
    /// What an answer must pass that lets the call go on.
    gate: Option<Arc<dyn Gate>>,
    /// Longest time without an answer, and longest time from the wish to stop to the end.
    patience: Duration,
    /// Whether its result must be fetched by `tasks/result` (core), after
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#retrieving-task-results>.
    core: bool,
}

impl Followed {
    pub(in crate::broker) fn new(
        broker: &Broker,
        caller: &Caller,
        claimed: &Approval,
        raw: &str,
        gate: Option<Arc<dyn Gate>>,
    ) -> Option<Self> {
        let name = &claimed.call.upstream;
        let flat = json::parse(raw).ok().is_some_and(|n| n.get("resultType").is_some());
        Some(Self {
            broker: broker.clone(),
            server: Arc::clone(broker.upstream(name)?),
            caller: caller.clone(),
            claimed: claimed.clone(),
            gate,
            patience: broker.config().upstream(name)?.timeout,
            core: !flat,
        })
    }

    /// Polls the task until it has ended, and returns its result. Polling follows
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#getting-tasks>,
    /// `pollInterval` bounded by [`SHORTEST`] and [`LONGEST`].
    ///
    /// # Errors
    /// [`UpstreamError::Lost`], when the server no longer tells of its task, or does not end it in
    /// time.
    pub(in crate::broker) async fn to_its_end(
        &self,
        mut task: Remote,
        cancel: &CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let id = &self.claimed.id;
        tracing::info!(approval.id = %id, "approval {id} goes on as a task of its server");
        let named = json::object([("taskId", json::quote(&task.id).as_str())]);
        let mut changes = self.broker.changes_of(id);
        let mut asked = None;
        let mut give_up = Instant::now() + self.patience;
        let mut stopping = false;
        loop {
            if task.status.is_terminal() {
                self.ask(&mut asked, None).await;
                return self.end(task, &named).await;
            }
            self.ask(&mut asked, task.input_requests.clone()).await;
            let pause = task.poll_ms.map_or(USUAL, Duration::from_millis).clamp(SHORTEST, LONGEST);
            let next = Instant::now() + pause;
            while Instant::now() < next {
                self.pass_answers(&task).await;
                tokio::select! {
                    biased;
                    () = cancel.cancelled(), if !stopping => {
                        stopping = true;
                        // From here on no sign of life counts, only the end.
                        give_up = Instant::now() + self.patience;
                        if let Err(error) = self.request(method::TASKS_CANCEL, &named).await {
                            tracing::warn!(approval.id = %id, %error, "the server was not told to stop");
                        }
                    }
                    () = changes.within(POLL.min(next.saturating_duration_since(Instant::now()))) => {}
                }
            }
            match self.request(method::TASKS_GET, &named).await {
                Ok(Reply::Result(raw)) => {
                    task = Remote::got(&raw).ok_or_else(|| lost("its task can't be read"))?;
                    if !stopping {
                        give_up = Instant::now() + self.patience;
                    }
                }
                Ok(Reply::Error(raw)) => {
                    return Err(lost(&format!("the server no longer tells of its task: {raw}")));
                }
                Err(error) => tracing::warn!(approval.id = %id, %error, "a task was not seen"),
            }
            if Instant::now() >= give_up {
                return Err(lost("its task did not end within the upstream's timeout"));
            }
        }
    }

    async fn request(&self, method: &str, params: &str) -> Result<Reply, UpstreamError> {
        // Only an answer has the server go on.
        let gate = self.gate.clone().filter(|_| method == method::TASKS_UPDATE);
        let request = Request {
            gate,
            capabilities: Some(with_tasks("{}")),
            ..Request::new(method, Some(params.to_owned()))
        };
        self.server.request(&self.caller, request, None, CancellationToken::new()).await
    }

    async fn end(&self, task: Remote, named: &str) -> Result<Reply, UpstreamError> {
        match (task.status, task.end) {
            (Status::Cancelled, _) => {
                let error = jsonrpc::error_object(code::INTERNAL_ERROR, ENDED_THERE, None);
                Ok(Reply::Error(error))
            }
            (_, Some(Outcome::Result(raw))) => Ok(Reply::Result(raw)),
            (_, Some(Outcome::Error(raw))) => Ok(Reply::Error(raw)),
            _ if self.core => match self.request(method::TASKS_RESULT, named).await {
                Ok(reply) => Ok(reply),
                Err(error) => {
                    Err(lost(&format!("its task ended, and its result is lost: {error}")))
                }
            },
            _ => Err(lost("its task ended without a result")),
        }
    }

    /// Shows what the server asks, to whoever looks at a task of this approval.
    async fn ask(&self, asked: &mut Option<String>, input_requests: Option<String>) {
        if *asked == input_requests {
            return;
        }
        let (broker, id) = (&self.broker, &self.claimed.id);
        match broker.store().tasks().ask(id, input_requests.as_deref(), broker.now()).await {
            Ok(()) => *asked = input_requests,
            Err(error) => tracing::warn!(approval.id = %id, %error, "a question was not stored"),
        }
        broker.hints().changed(id);
    }

    /// Passes on what was answered meanwhile, by whichever broker.
    async fn pass_answers(&self, task: &Remote) {
        let (broker, id) = (&self.broker, &self.claimed.id);
        let taken = match broker.store().tasks().take_replies(id, broker.now()).await {
            Ok(Some(taken)) => taken,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(approval.id = %id, %error, "answers wait for the store");
                return;
            }
        };
        for answers in taken.lines() {
            let params = json::object([
                ("taskId", json::quote(&task.id).as_str()),
                ("inputResponses", answers),
            ]);
            if let Err(error) = self.request(method::TASKS_UPDATE, &params).await {
                tracing::warn!(approval.id = %id, %error, "an answer did not reach the server");
            }
        }
    }
}

fn lost(why: &str) -> UpstreamError {
    UpstreamError::Lost(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_declared_beside_what_the_client_can_be_asked() {
        assert_eq!(
            with_tasks(r#"{"elicitation":{"form":{}}}"#),
            r#"{"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#
        );
    }
}
