//! What a connection to a server can do, whatever it runs over.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra};

/// Wait after the first failure to connect or to list the tools; doubles at each further one.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest wait between two attempts.
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(30);

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
