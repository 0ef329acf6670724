//! `[server]`: where it listens, what it takes from whom, and how much of it.

use std::net::SocketAddr;
use std::time::Duration;

use url::Url;

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// Base of every link sent to people. Where it is not configured it is `http://` and `listen`,
    /// whose port 0 must then be replaced by the actual one.
    pub public_url: Url,
    /// Further hosts (with port where not the default) accepted in `Host`.
    pub allowed_hosts: Vec<String>,
    /// Origins of browser clients that may use the MCP endpoint, as browsers send them.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc6454#section-6.2>
    pub allowed_origins: Vec<String>,
    /// Addresses of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Most wrong bearer tokens from one client address within `wrong_token_window`.
    pub wrong_tokens: u32,
    /// The window of that limit.
    pub wrong_token_window: Duration,
    /// Most client addresses that are remembered for that, and as many whose token was good.
    pub max_token_addresses: u32,
    /// Largest request body, bytes.
    pub max_body: usize,
    /// Most values of one message of an agent.
    pub max_message_nodes: u32,
    /// Most bytes of one agent's messages that are read at once.
    pub max_reading_per_agent: usize,
    /// The same of all agents.
    pub max_reading: usize,
    /// Most bytes of one agent's messages that are under way.
    pub max_under_way_per_agent: usize,
    /// The same of all agents.
    pub max_under_way: usize,
    /// Largest form of the pages and largest body of the HTTP API, bytes.
    pub max_form: usize,
    /// Largest message of an upstream, bytes.
    pub max_result: usize,
    /// Most legacy sessions of one agent.
    pub max_sessions_per_agent: u32,
    /// How long the stream of a legacy client is kept while nobody reads it; zero: it is not kept.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>
    pub resume_window: Duration,
    /// Most streams of one legacy session that are kept.
    pub resume_streams: u32,
    /// How much is kept of the streams of one legacy session, bytes.
    pub resume_buffer: usize,
    /// Most connections of clients; none: as many as the system's descriptors allow.
    pub max_connections: Option<u32>,
    /// Most connections from one address that is no trusted proxy; none: half of all.
    pub max_connections_per_address: Option<u32>,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a connection stays open without a request.
    pub idle_timeout: Duration,
    /// Largest head of a request, bytes.
    pub max_headers: usize,
    /// How long running calls may still take at shutdown.
    pub shutdown_grace: Duration,
    /// Most resources that one session or stream hears of.
    pub max_subscriptions: u32,
    /// Most notifications of one agent that are on their way to upstreams.
    pub max_notifications_per_agent: u32,
    /// Most streams that one agent has open to hear of changes.
    pub max_streams_per_agent: u32,
    /// Most cancellations of one legacy session that are kept because they overtook their request.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>
    pub max_early_cancellations: u32,
    /// How long a stream of HTTP+SSE may be open before its client says `initialize`.
    pub sse_initialize_within: Duration,
    /// Most unanswered requests of one such stream.
    pub max_sse_requests: u32,
    /// Most rounds in which a modern server asks for input before it answers a legacy client.
    pub max_input_rounds: u32,
    /// How long a request of a server that belongs to no request waits for a client to listen.
    pub question_wait: Duration,
    /// Most server requests that wait for one client's own stream.
    pub max_questions: u32,
    /// Most pages of one list of an upstream that Placet reads.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/pagination>
    pub max_list_pages: u32,
    /// Most entries of one list of an upstream that Placet reads.
    pub max_list_entries: u32,
    /// Most approvals in one export.
    pub max_export: u32,
}
