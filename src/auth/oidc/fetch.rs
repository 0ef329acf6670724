//! The way to the provider: no redirects, no proxy of the environment, a time limit for the whole
//! answer and a limit of its size.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse, http};
use reqwest::Client;
use thiserror::Error;

use crate::domain::error_text::in_full;

/// Why the provider could not be asked.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No connection, or none in time, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// It says more than is read.
    #[error("its answer is larger than oidc.max_answer")]
    TooLarge,
}

/// The HTTP client of one provider.
#[derive(Debug, Clone)]
pub struct Fetch {
    client: Result<Client, String>,
    max_answer: usize,
}

impl Fetch {
    /// A client that waits so long for an answer of at most so many bytes.
    pub fn new(timeout: Duration, max_answer: usize) -> Self {
        // Somebody else may have installed it first; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .timeout(timeout)
            .user_agent(concat!("placet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("the HTTP client can't be made: {error}"));
        Self { client, max_answer }
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let client = self.client.as_ref().map_err(|e| FetchError::Unreachable(e.clone()))?;
        let request = reqwest::Request::try_from(request).map_err(unreachable)?;
        let mut response = client.execute(request).await.map_err(unreachable)?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > self.max_answer {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        answer.body(body).map_err(|error| FetchError::Unreachable(error.to_string()))
    }
}

impl<'c> AsyncHttpClient<'c> for Fetch {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

/// What went wrong, down to its cause. The address is the configuration's or the provider's own, and
/// no query with a secret is ever sent; even so it is left out.
fn unreachable(error: reqwest::Error) -> FetchError {
    FetchError::Unreachable(in_full(&error.without_url()))
}
