//! Which form of tasks a request speaks, whose tasks it may see, and what capabilities say of them.

use crate::broker::call::tasks::Owner;
use crate::domain::json::{self, Node, edit};
use crate::domain::task::Form;
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::protocol::{TASKS_EXTENSION, meta, method, version};
use crate::upstream::WireEra;

/// The capability `tasks` of a server of 2025-11-25, raw JSON
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>).
const CORE_CAPABILITY: &str = "{\"list\":{},\"cancel\":{},\"requests\":{\"tools\":{\"call\":{}}}}";

/// The form in which the client of this call may be given a task; none where the call is held.
///
/// <https://modelcontextprotocol.io/extensions/tasks/overview>,
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>
pub(crate) fn form_of(incoming: &ClientRequest, params: Option<&Node<'_>>) -> Option<Form> {
    // Neither protocol knows tasks for prompts or resources.
    if incoming.message.method != method::TOOLS_CALL {
        return None;
    }
    match incoming.era {
        WireEra::Modern => declares_extension(params).then_some(Form::Extension),
        WireEra::Legacy => {
            let asked = params.and_then(|p| p.get("task")).is_some_and(Node::is_object);
            (asked && speaks_core(incoming)).then_some(Form::Core)
        }
    }
}

/// Whether this request declares the tasks extension, as each one has to.
pub(crate) fn declares_extension(params: Option<&Node<'_>>) -> bool {
    let declared = params.and_then(|p| {
        p.get("_meta")?.get(meta::CLIENT_CAPABILITIES)?.get("extensions")?.get(TASKS_EXTENSION)
    });
    declared.is_some_and(Node::is_object)
}

/// Whether the session is of 2025-11-25, the only version with tasks in its core.
pub(crate) fn speaks_core(incoming: &ClientRequest) -> bool {
    incoming.session.as_ref().is_some_and(|s| s.version == version::V2025_11_25)
}

/// Adds what the client of this version may know of tasks to the capabilities of a server.
pub(crate) fn advertise(capabilities: &str, version: &str) -> String {
    match version {
        version::V2025_11_25 => edit::with_missing(capabilities, &[("tasks", CORE_CAPABILITY)]),
        version::MODERN => {
            let extensions = json::object([(TASKS_EXTENSION, "{}")]);
            edit::with_missing(capabilities, &[("extensions", extensions)])
        }
        _ => capabilities.to_owned(),
    }
}

pub(crate) fn task_id<'n>(params: Option<&'n Node<'_>>) -> Option<&'n str> {
    params?.get("taskId")?.as_str()
}

/// Whose tasks this request may see: the agent's, at this address, of the form of its era.
pub(crate) fn owner(incoming: &ClientRequest) -> Owner {
    let form = match incoming.era {
        WireEra::Modern => Form::Extension,
        WireEra::Legacy => Form::Core,
    };
    Owner { agent: incoming.agent.clone(), upstream: incoming.upstream.clone(), form }
}

/// The upstream of the task that a request names, if it is the client's own.
pub(crate) async fn upstream_of(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Option<String> {
    let view = mcp.broker.peek_at_task(&owner(incoming), task_id(params)?).await.ok()?;
    Some(view.task.upstream)
}
