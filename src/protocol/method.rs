//! Names of requests and notifications, each with the section that defines it.

/// Begins a legacy session.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>
pub(crate) const INITIALIZE: &str = "initialize";
/// The legacy client is ready.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>
pub(crate) const NOTIFICATIONS_INITIALIZED: &str = "notifications/initialized";
/// Asks whether the other side is there (legacy).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/ping>
pub(crate) const PING: &str = "ping";
/// Asks a modern server for its name, its revisions and its capabilities.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/server/discover>
pub(crate) const SERVER_DISCOVER: &str = "server/discover";
/// The tools there are.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#listing-tools>
pub(crate) const TOOLS_LIST: &str = "tools/list";
/// Calls a tool.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#calling-tools>
pub(crate) const TOOLS_CALL: &str = "tools/call";
/// The prompts there are.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/prompts#listing-prompts>
pub(crate) const PROMPTS_LIST: &str = "prompts/list";
/// Fetches a prompt.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/prompts#getting-a-prompt>
pub(crate) const PROMPTS_GET: &str = "prompts/get";
/// The resources there are.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#listing-resources>
pub(crate) const RESOURCES_LIST: &str = "resources/list";
/// The templates of resources there are.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#resource-templates>
pub(crate) const RESOURCES_TEMPLATES_LIST: &str = "resources/templates/list";
/// Reads a resource.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#reading-resources>
pub(crate) const RESOURCES_READ: &str = "resources/read";
/// Asks for news of a resource (legacy).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>
pub(crate) const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
/// Asks for no more news of a resource (legacy).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>
pub(crate) const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
/// Completes an argument.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/completion>
pub(crate) const COMPLETION_COMPLETE: &str = "completion/complete";
/// Sets the lowest level of the log (legacy).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/logging#setting-log-level>
pub(crate) const LOGGING_SET_LEVEL: &str = "logging/setLevel";
/// Asks for notifications (modern).
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions>
pub(crate) const SUBSCRIPTIONS_LISTEN: &str = "subscriptions/listen";
/// Which notifications the stream has (modern).
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions>
pub(crate) const NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED: &str =
    "notifications/subscriptions/acknowledged";
/// Asks the user for input, by a form or a page.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>
pub(crate) const ELICITATION_CREATE: &str = "elicitation/create";
/// The user is done with a page (2025-11-25).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation#completion-notifications-for-url-mode-elicitation>
pub(crate) const NOTIFICATIONS_ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";
/// The list of roots changed (legacy).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/client/roots#root-list-changes>
pub(crate) const NOTIFICATIONS_ROOTS_LIST_CHANGED: &str = "notifications/roots/list_changed";
/// The list of tools changed.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#list-changed-notification>
pub(crate) const NOTIFICATIONS_TOOLS_LIST_CHANGED: &str = "notifications/tools/list_changed";
/// The list of prompts changed.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/prompts#list-changed-notification>
pub(crate) const NOTIFICATIONS_PROMPTS_LIST_CHANGED: &str = "notifications/prompts/list_changed";
/// The list of resources changed.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#list-changed-notification>
pub(crate) const NOTIFICATIONS_RESOURCES_LIST_CHANGED: &str =
    "notifications/resources/list_changed";
/// A resource changed.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>
pub(crate) const NOTIFICATIONS_RESOURCES_UPDATED: &str = "notifications/resources/updated";
/// A message of the log.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/logging#log-message-notifications>
pub(crate) const NOTIFICATIONS_MESSAGE: &str = "notifications/message";
/// How far a request is.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>
pub(crate) const NOTIFICATIONS_PROGRESS: &str = "notifications/progress";
/// Nobody waits for a request any more.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>
pub(crate) const NOTIFICATIONS_CANCELLED: &str = "notifications/cancelled";
/// How a task stands.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#getting-tasks>
pub(crate) const TASKS_GET: &str = "tasks/get";
/// What a task came to (core).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#retrieving-task-results>
pub(crate) const TASKS_RESULT: &str = "tasks/result";
/// The tasks there are (core).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#listing-tasks>
pub(crate) const TASKS_LIST: &str = "tasks/list";
/// Cancels a task.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#cancelling-tasks>
pub(crate) const TASKS_CANCEL: &str = "tasks/cancel";
/// Answers what a task asks (extension).
///
/// <https://modelcontextprotocol.io/extensions/tasks/overview>
pub(crate) const TASKS_UPDATE: &str = "tasks/update";
/// The status of a task changed (core).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#task-status-notification>
pub(crate) const NOTIFICATIONS_TASKS_STATUS: &str = "notifications/tasks/status";
/// The status of a task changed (extension).
///
/// <https://modelcontextprotocol.io/extensions/tasks/overview>
pub(crate) const NOTIFICATIONS_TASKS: &str = "notifications/tasks";

/// Requests that a legacy client may make, of every legacy revision.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/schema>
const LEGACY_REQUESTS: [&str; 17] = [
    INITIALIZE,
    PING,
    TOOLS_LIST,
    TOOLS_CALL,
    PROMPTS_LIST,
    PROMPTS_GET,
    RESOURCES_LIST,
    RESOURCES_TEMPLATES_LIST,
    RESOURCES_READ,
    RESOURCES_SUBSCRIBE,
    RESOURCES_UNSUBSCRIBE,
    COMPLETION_COMPLETE,
    LOGGING_SET_LEVEL,
    TASKS_GET,
    TASKS_RESULT,
    TASKS_LIST,
    TASKS_CANCEL,
];

/// Requests that a modern client may make, those of the extension for tasks among them.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/schema>,
/// <https://modelcontextprotocol.io/extensions/tasks/overview>
const MODERN_REQUESTS: [&str; 13] = [
    SERVER_DISCOVER,
    SUBSCRIPTIONS_LISTEN,
    TOOLS_LIST,
    TOOLS_CALL,
    PROMPTS_LIST,
    PROMPTS_GET,
    RESOURCES_LIST,
    RESOURCES_TEMPLATES_LIST,
    RESOURCES_READ,
    COMPLETION_COMPLETE,
    TASKS_GET,
    TASKS_UPDATE,
    TASKS_CANCEL,
];

/// Notifications that a legacy client may send.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/schema>
const LEGACY_NOTIFICATIONS: [&str; 5] = [
    NOTIFICATIONS_INITIALIZED,
    NOTIFICATIONS_CANCELLED,
    NOTIFICATIONS_PROGRESS,
    NOTIFICATIONS_ROOTS_LIST_CHANGED,
    NOTIFICATIONS_TASKS_STATUS,
];

/// Whether legacy clients may make this request, by its exact name.
pub(crate) fn is_legacy_request(name: &str) -> bool {
    LEGACY_REQUESTS.contains(&name)
}

/// Whether modern clients may make this request, by its exact name.
pub(crate) fn is_modern_request(name: &str) -> bool {
    MODERN_REQUESTS.contains(&name)
}

/// Whether clients of either era may make this request, by its exact name.
pub(crate) fn is_request(name: &str) -> bool {
    is_legacy_request(name) || is_modern_request(name)
}

/// Whether legacy clients may send this notification, by its exact name.
pub(crate) fn is_legacy_notification(name: &str) -> bool {
    LEGACY_NOTIFICATIONS.contains(&name)
}

/// Whether modern clients may send this notification, by its exact name: over HTTP they close the
/// stream of what they cancel.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/cancellation>
pub(crate) fn is_modern_notification(name: &str) -> bool {
    name == NOTIFICATIONS_CANCELLED
}
