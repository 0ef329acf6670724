//! What answers the requests of this program: the pages and the MCP face, behind the wall against
//! foreign hosts and origins.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use axum::{Router, middleware};
use tower_service::Service as _;

use crate::mcp::{self, Mcp};
use crate::tcp::serve::Answers;
use crate::web::host_guard::{Hosts, host_guard};
use crate::web::{self, Web};

/// Both faces; cheap to clone.
#[derive(Clone)]
pub(super) struct Faces(Arc<Parts>);

struct Parts {
    hosts: Arc<Hosts>,
    mcp: Mcp,
    /// All paths of both.
    router: Router,
}

impl Faces {
    pub(super) fn new(hosts: Hosts, mcp: Mcp, web: Web) -> Self {
        let hosts = Arc::new(hosts);
        let guard = middleware::from_fn_with_state(Arc::clone(&hosts), host_guard);
        let router = web::router(web).merge(mcp::router(mcp.clone())).layer(guard);
        Self(Arc::new(Parts { hosts, mcp, router }))
    }
}

impl Answers for Faces {
    fn answer(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        // An agent's message takes the short way, behind the same wall: a router of all paths makes
        // a dozen objects for each request.
        if let Some(upstream) = mcp::posted_to(&request) {
            if let Some(refused) = self.0.hosts.refused(&request) {
                return Box::pin(ready(refused));
            }
            let mcp = self.0.mcp.clone();
            return Box::pin(async move { mcp.answer(&upstream, request).await });
        }
        let mut router = self.0.router.clone();
        Box::pin(async move {
            match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    }
}
