//! The way to the provider: no redirects, no proxy of the environment, a time limit for the whole
//! answer and a limit of its size.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, StatusCode};
use thiserror::Error;
use url::{Url, form_urlencoded};

use crate::domain::error_text::in_full;

/// Why the provider could not be asked.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// No connection, or none in time, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The answer has more bytes than `oidc.max_answer`.
    #[error("its answer is larger than oidc.max_answer")]
    TooLarge,
}

/// The HTTP client of one provider.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    client: Result<Client, String>,
    max_answer: usize,
}

/// What the provider answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    content_type: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    /// Whether it says of itself that it is a signed token.
    pub(crate) fn is_signed(&self) -> bool {
        self.content_type.is_some() && self.is_any(&["application/jwt"])
    }

    /// Whether it says of itself that it is one of these media types, or says nothing.
    fn is_any(&self, media_types: &[&str]) -> bool {
        self.content_type.as_ref().is_none_or(|said| {
            let essence = said.split(';').next().unwrap_or_default().trim();
            media_types.iter().any(|media_type| essence.eq_ignore_ascii_case(media_type))
        })
    }

    /// The body as text; none if it is not UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    /// The body as text, if the status is 200 and the media type is one of these or absent.
    ///
    /// # Errors
    /// What is wrong with it, in words: the status, the media type, or bytes that are not UTF-8.
    pub(crate) fn expect(&self, media_types: &[&str]) -> Result<&str, String> {
        if self.status != StatusCode::OK {
            return Err(self.status.to_string());
        }
        if !self.is_any(media_types) {
            let said = self.content_type.as_deref().unwrap_or_default();
            return Err(format!("its Content-Type is {said}"));
        }
        self.text().ok_or_else(|| "it is not UTF-8".to_owned())
    }
}

impl Fetch {
    /// A client that waits at most `timeout` for an answer of at most `max_answer` bytes.
    pub(crate) fn new(timeout: Duration, max_answer: usize) -> Self {
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

    /// Asks for a document; with an access token, where there is one.
    ///
    /// # Errors
    /// [`FetchError`]: no answer in time, or one that is too large. Any status is an answer.
    pub(crate) async fn get(&self, url: &Url, bearer: Option<&str>) -> Result<Answer, FetchError> {
        let request = self.client()?.get(url.clone());
        self.ask(match bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    /// Sends a form; with a name and a password, where there are some.
    ///
    /// # Errors
    /// [`FetchError`]: no answer in time, or one that is too large. Any status is an answer.
    pub(crate) async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(String, String)>,
    ) -> Result<Answer, FetchError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client()?.post(url.clone());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        self.ask(match basic {
            Some((name, password)) => request.basic_auth(name, Some(password)),
            None => request,
        })
        .await
    }

    fn client(&self) -> Result<&Client, FetchError> {
        self.client.as_ref().map_err(|e| FetchError::Unreachable(e.clone()))
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, FetchError> {
        let request = request.header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unreachable)?;
        let content_type = response.headers().get(CONTENT_TYPE);
        let mut answer = Answer {
            status: response.status(),
            content_type: content_type
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.body.len() + chunk.len() > self.max_answer {
                return Err(FetchError::TooLarge);
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

/// What went wrong, down to its cause. The address is the configuration's or the provider's own, and
/// no query with a secret is ever sent; even so it is left out.
fn unreachable(error: reqwest::Error) -> FetchError {
    FetchError::Unreachable(in_full(&error.without_url()))
}
