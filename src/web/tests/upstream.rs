//! An upstream that only has a tool list.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::domain::catalogue;
use crate::domain::classify::Classified;
use crate::upstream::{
    Caller, Catalog, Known, Notification, Notifications, Reply, Report, Request, ServerFacts,
    ServerRequest, Tool, Upstream, UpstreamError,
};

pub(super) struct Fixed {
    catalog: Arc<Catalog>,
    /// What is known of it.
    pub(super) report: Mutex<Report>,
    /// How often it was asked anything.
    pub(super) asked: AtomicUsize,
    told: broadcast::Sender<Notification>,
}

impl Default for Fixed {
    fn default() -> Self {
        let tool = |name: &str| {
            let raw = format!(
                "{{\"name\":\"{name}\",\"description\":\"Does <b>{name}</b>.\",\"annotations\":{{\"destructiveHint\":true}}}}"
            );
            let risk = Classified::of(&raw, false);
            Tool {
                name: name.to_owned(),
                raw,
                fingerprint: name.to_owned(),
                own: risk.clone(),
                risk,
            }
        };
        let names = ["list_image_sets", "delete_image_set", "wipe_archive", "copy_image_set"];
        let server = catalogue::find("awslabs.healthimaging-mcp-server").ok();
        let known = server.map(|server| Known { server, declares: "7".to_owned() });
        let catalog = Arc::new(Catalog { tools: names.map(tool).to_vec(), known });
        let (report, asked) = (Mutex::default(), AtomicUsize::new(0));
        Self { catalog, report, asked, told: broadcast::channel(1).0 }
    }
}

#[async_trait]
impl Upstream for Fixed {
    async fn request(
        &self,
        _caller: &Caller,
        _request: Request,
        _notifications: Option<Notifications>,
        _cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Err(UpstreamError::NotSent("only a list".to_owned()))
    }

    async fn notify(&self, _caller: &Caller, _method: &str, _params: Option<String>) {}

    async fn facts(&self, _caller: &Caller) -> Result<ServerFacts, UpstreamError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Err(UpstreamError::NotSent("only a list".to_owned()))
    }

    fn report(&self) -> Report {
        self.report.lock().unwrap().clone()
    }

    fn catalog(&self) -> Option<Arc<Catalog>> {
        Some(Arc::clone(&self.catalog))
    }

    async fn refresh(&self) -> Result<Arc<Catalog>, UpstreamError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::clone(&self.catalog))
    }

    fn subscribe(&self, _caller: &Caller) -> broadcast::Receiver<Notification> {
        self.told.subscribe()
    }

    fn server_requests(&self, _caller: &Caller) -> tokio::sync::mpsc::Receiver<ServerRequest> {
        tokio::sync::mpsc::channel(1).1
    }

    async fn close_session(&self, _caller: &Caller) {}

    async fn shutdown(&self) {}
}
