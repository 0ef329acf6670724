//! What a connection to a server can do, whatever it runs over.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra};

/// The waits between attempts to connect, to list the tools or to start a child.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    /// After the first failure; doubles at each further one.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Pauses {
    /// The one after this one.
    pub(super) fn after(self, wait: Duration) -> Duration {
        wait.saturating_mul(2).min(self.longest)
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(30) }
    }
}

/// One connection of one upstream, opened when first needed and again when it broke.
///
/// # Errors
/// `request` and `connect` fail as the methods of [`super::Upstream`] do.
#[async_trait]
pub(super) trait Link: Send + Sync {
    /// Sends one request and waits for its answer, as [`super::Upstream::request`].
    async fn request(
        &self,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError>;

    /// Sends one notification, as [`super::Upstream::notify`].
    async fn notify(&self, method: &str, params: Option<&str>);

    /// Connects if need be; says what the handshake found out.
    async fn connect(&self) -> Result<ServerFacts, UpstreamError>;

    /// Whether it is connected now.
    fn is_live(&self) -> bool;

    /// The era that was spoken last; none before the first connection.
    fn era(&self) -> Option<WireEra>;

    /// Whether it speaks HTTP.
    fn is_http(&self) -> bool;

    /// Resolves when it is not connected, or no more.
    async fn lost(&self);

    /// Ends it for good.
    async fn close(&self);
}
