//! A connection that writes down how each request over it went.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::common::Common;
use super::link::Link;
use super::{Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra};
use crate::domain::upstream_health::{ListKind, Trouble};

/// A connection whose every outcome is written down.
pub(super) struct Recorded {
    link: Arc<dyn Link>,
    common: Arc<Common>,
}

impl Recorded {
    pub(super) fn new(link: Arc<dyn Link>, common: &Arc<Common>) -> Arc<Self> {
        Arc::new(Self { link, common: Arc::clone(common) })
    }

    fn failed(&self, error: &UpstreamError) {
        // A failure while Placet stops is no fault of the server's.
        if self.common.stop.is_cancelled() {
            return;
        }
        match error {
            UpstreamError::NotSent(why) => self.common.health.failed(Trouble::NotSent, why),
            UpstreamError::Lost(why) => self.common.health.failed(Trouble::Lost, why),
            UpstreamError::Cancelled => {}
        }
    }
}

#[async_trait]
impl Link for Recorded {
    async fn request(
        &self,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let list = ListKind::of_method(&request.method).map(|list| (list, request.params.clone()));
        let answer = self.link.request(request, notifications, cancel.clone()).await;
        match &answer {
            Ok(reply) => {
                self.common.health.answered();
                if let (Reply::Result(page), Some(((kind, member), params))) = (reply, list) {
                    self.common.health.listed(kind, member, params.as_deref(), page);
                }
            }
            // A request that was cancelled says nothing about the server.
            Err(_) if cancel.is_cancelled() => {}
            Err(error) => self.failed(error),
        }
        answer
    }

    async fn notify(&self, method: &str, params: Option<&str>) {
        self.link.notify(method, params).await;
    }

    async fn connect(&self) -> Result<ServerFacts, UpstreamError> {
        // What is connected already is not asked; a handshake is written down where it is made.
        self.link.connect().await.inspect_err(|error| self.failed(error))
    }

    fn is_live(&self) -> bool {
        self.link.is_live()
    }

    fn era(&self) -> Option<WireEra> {
        self.link.era()
    }

    fn is_http(&self) -> bool {
        self.link.is_http()
    }

    async fn lost(&self) {
        self.link.lost().await;
    }

    async fn close(&self) {
        self.link.close().await;
    }
}
