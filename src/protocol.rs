//! What the Model Context Protocol fixes: its revisions, the names that it and Placet put into
//! messages and headers, its error codes, and JSON-RPC messages as text.
//!
//! The two newest revisions are linked as
//! <https://modelcontextprotocol.io/specification/2025-11-25> and
//! <https://modelcontextprotocol.io/specification/2026-07-28>. The *modern* era describes each
//! request by itself, the *legacy* one begins with `initialize`
//! (<https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>).

pub(crate) mod jsonrpc;
pub(crate) mod method;

/// Revisions by date: as dates, and as texts, they sort.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>
pub(crate) mod version {
    /// The revision of per-request metadata: no sessions, no `initialize`.
    pub(crate) const MODERN: &str = "2026-07-28";
    /// The newest legacy revision, and the only one with tasks in its core, with pages to open and
    /// with streams that go on.
    pub(crate) const V2025_11_25: &str = "2025-11-25";
    /// The revision that did away with batches.
    pub(crate) const V2025_06_18: &str = "2025-06-18";
    /// The revision with batches of messages, which Placet does not speak to clients.
    pub(crate) const V2025_03_26: &str = "2025-03-26";
    /// The revision of the transport HTTP+SSE.
    pub(crate) const V2024_11_05: &str = "2024-11-05";

    /// Legacy revisions that clients are served, oldest first.
    pub(crate) const SERVED_LEGACY: [&str; 3] = [V2024_11_05, V2025_06_18, V2025_11_25];
    /// Legacy revisions that servers may speak, newest first; the first is asked for.
    pub(crate) const SPOKEN_LEGACY: [&str; 4] =
        [V2025_11_25, V2025_06_18, V2025_03_26, V2024_11_05];
}

/// The name of the extension for tasks, among the `extensions` of capabilities.
///
/// <https://modelcontextprotocol.io/extensions/tasks/overview>
pub(crate) const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The keyword in a tool's schema that wants an argument repeated in a header.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/server/tools#x-mcp-header>
pub(crate) const X_MCP_HEADER: &str = "x-mcp-header";

/// Keys of `_meta`.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>
pub(crate) mod meta {
    /// The revision that a modern request is in; required.
    pub(crate) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// What the client of a modern request can do; required.
    pub(crate) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Name and version of the client of a modern request.
    pub(crate) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// Name and version of the server, in a modern result.
    pub(crate) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// The lowest level of log messages that a modern request wants.
    ///
    /// <https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging#per-request-log-level>
    pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// The request `subscriptions/listen` that a message on its stream belongs to.
    ///
    /// <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions#receiving-notifications>
    pub(crate) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// The task that a message belongs to, in the core's tasks.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#related-task-metadata>
    pub(crate) const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
    /// What a model may be told at once of a call that became one of the core's tasks.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>
    pub(crate) const MODEL_IMMEDIATE_RESPONSE: &str =
        "io.modelcontextprotocol/model-immediate-response";
    /// What the notifications of a request's progress name it by.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>
    pub(crate) const PROGRESS_TOKEN: &str = "progressToken";
    /// What Placet's own keys begin with; nobody else's reach an agent.
    pub(crate) const OWN_PREFIX: &str = "io.placet/";
    /// Placet's own key, in the result of a call: what was decided about it.
    pub(crate) const DECISION: &str = "io.placet/decision";
}

/// Error codes of JSON-RPC and of MCP.
///
/// <https://www.jsonrpc.org/specification#error_object>,
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes>
pub(crate) mod code {
    /// The body is not JSON.
    pub(crate) const PARSE_ERROR: i64 = -32700;
    /// The body is not a JSON-RPC message, or is one that parsers could read differently.
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    /// There is no such method.
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    /// Unacceptable parameters; also an unknown tool and, in the modern era, an unknown resource.
    pub(crate) const INVALID_PARAMS: i64 = -32602;
    /// Something failed that the request is not to blame for.
    pub(crate) const INTERNAL_ERROR: i64 = -32603;
    /// A resource that is not there, in the legacy era.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling>
    pub(crate) const RESOURCE_NOT_FOUND: i64 = -32002;
    /// The user has to open a page first (2025-11-25 alone).
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation#url-elicitation-required-error>
    pub(crate) const URL_ELICITATION_REQUIRED: i64 = -32042;
    /// A header and the body disagree (modern).
    pub(crate) const HEADER_MISMATCH: i64 = -32020;
    /// The client did not declare what this needs (modern).
    pub(crate) const MISSING_CAPABILITY: i64 = -32021;
    /// The protocol version is not spoken here (modern).
    pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;
    /// Placet's own code, for the end of a call that is not a tool call. It lies outside the ranges
    /// that JSON-RPC and MCP reserve.
    pub(crate) const DECISION: i64 = -31100;
}

/// Names of HTTP headers, in lower case as HTTP libraries want them.
pub(crate) mod header_name {
    /// The session of a legacy client.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>
    pub(crate) const SESSION_ID: &str = "mcp-session-id";
    /// The revision that is spoken.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#protocol-version-header>
    pub(crate) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
    /// The last event of a broken stream that its client has.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>
    pub(crate) const LAST_EVENT_ID: &str = "last-event-id";
    /// The method of a modern request, as in its body.
    ///
    /// <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>
    pub(crate) const METHOD: &str = "mcp-method";
    /// What a modern request is about, as in its body: a name, a URI or a task's id.
    ///
    /// <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>
    pub(crate) const NAME: &str = "mcp-name";
    /// What the headers for arguments of a tool begin with.
    ///
    /// <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters>
    pub(crate) const PARAM_PREFIX: &str = "mcp-param-";
}
