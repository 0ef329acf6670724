//! Webhooks after the Standard Webhooks specification: signed, never redirected, never proxied.
//!
//! It promises that the bytes signed are the bytes sent and that nothing but a checked address is
//! connected to. It does not queue, retry or remember; those are the deliverer's.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac as _};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, Response, StatusCode, redirect};
use sha2::Sha256;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::Url;

use super::{Message, Notifier, NotifyError, ssrf};
use crate::config::Secret;
use crate::domain::error_text::in_full;
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;

/// Longest time for one attempt, from connecting to the end of the answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of an answer that are read.
pub(crate) const MAX_ANSWER: usize = 4 * 1024;
/// Most characters of an answer that are recorded.
const MAX_RECORDED: usize = 200;
/// Longest `Retry-After` that is obeyed.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Least and most bytes of a signing key, as the specification asks.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a secret can't sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum SecretError {
    /// Not `whsec_` and base64.
    #[error("a webhook secret is \"whsec_\" and base64")]
    Form,
    /// Too short or too long.
    #[error("a webhook secret holds 24 to 64 bytes; this one {0}")]
    Length(usize),
}

/// The key inside `whsec_…`.
///
/// # Errors
/// [`SecretError`], which never repeats the secret.
pub(crate) fn read_secret(text: &str) -> Result<Vec<u8>, SecretError> {
    let encoded = text.strip_prefix("whsec_").ok_or(SecretError::Form)?;
    let key = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .map_err(|_| SecretError::Form)?;
    if KEY_BYTES.contains(&key.len()) { Ok(key) } else { Err(SecretError::Length(key.len())) }
}

/// The value of `webhook-signature`: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.
pub(crate) fn sign(key: &[u8], id: &str, timestamp_s: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(format!("{id}.{timestamp_s}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// One webhook endpoint.
pub(crate) struct Webhook {
    name: String,
    url: Url,
    allow_private_network: bool,
    ready: Result<(Client, Vec<u8>), String>,
}

impl Webhook {
    /// Makes the endpoint's client. A wrong secret is reported at each attempt.
    pub(crate) fn new(name: &str, url: &Url, secret: &Secret, allow_private_network: bool) -> Self {
        let ready = read_secret(secret.expose())
            .map_err(|e| format!("notifiers.{name}.secret: {e}"))
            .and_then(|key| Ok((client(allow_private_network)?, key)));
        Self { name: name.to_owned(), url: url.clone(), allow_private_network, ready }
    }

    fn checked(&self) -> Result<&(Client, Vec<u8>), NotifyError> {
        let ready = self.ready.as_ref().map_err(|e| NotifyError::Permanent(e.clone()))?;
        if !self.allow_private_network {
            ssrf::check(&self.url).map_err(|e| NotifyError::Permanent(e.to_string()))?;
        }
        Ok(ready)
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<String, NotifyError> {
        let Message::Webhook { id, at, body } = message else {
            return Err(NotifyError::Permanent("a webhook can't carry a mail".to_owned()));
        };
        let (client, key) = self.checked()?;
        let signature = sign(key, id, at.seconds(), body);
        let response = client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("Placet/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", at.seconds().to_string())
            .header("webhook-signature", signature)
            .body(body.clone())
            .send()
            .await
            .map_err(|e| NotifyError::Retry { detail: reason(e), after: None })?;
        let status = response.status();
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| retry_after(v, *at));
        let detail = answer(status, response).await;
        classify(status, after, detail)
    }

    /// Connects, without a webhook: any HTTP answer means that the endpoint can be reached.
    async fn probe(&self) -> Result<String, NotifyError> {
        let (client, _) = self.checked()?;
        let response = client
            .head(self.url.clone())
            .send()
            .await
            .map_err(|e| NotifyError::Retry { detail: reason(e), after: None })?;
        Ok(format!("reached; it answers HEAD with {}", response.status()))
    }
}

fn client(allow_private_network: bool) -> Result<Client, String> {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .timeout(TIMEOUT);
    let builder =
        if allow_private_network { builder } else { builder.dns_resolver(ssrf::PublicOnly) };
    builder.build().map_err(|e| format!("the HTTP client can't be made: {e}"))
}

fn classify(
    status: StatusCode,
    after: Option<Duration>,
    detail: String,
) -> Result<String, NotifyError> {
    if status.is_success() {
        Ok(detail)
    } else if status == StatusCode::GONE {
        Err(NotifyError::Disabled(detail))
    } else if status.is_redirection() {
        let detail = format!("{detail} (redirects are not followed)");
        Err(NotifyError::Retry { detail, after: None })
    } else {
        Err(NotifyError::Retry { detail, after })
    }
}

/// `Retry-After`, in seconds or as a date, at most [`MAX_RETRY_AFTER`]:
/// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let length = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit mean "very long", which the bound then says.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let at = OffsetDateTime::parse(value, &Rfc2822).ok()?;
        Duration::from_secs(u64::try_from(at.unix_timestamp() - now.seconds()).unwrap_or(0))
    };
    Some(length.min(MAX_RETRY_AFTER))
}

/// Status and the beginning of the body, in one visible line.
async fn answer(status: StatusCode, mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER)]),
            Ok(None) | Err(_) => break,
        }
    }
    let text: String = String::from_utf8_lossy(&body).trim().chars().take(MAX_RECORDED).collect();
    if text.is_empty() { status.to_string() } else { format!("{status}: {}", visible(&text)) }
}

/// What went wrong, down to its cause, without the URL, which may hold a token.
fn reason(error: reqwest::Error) -> String {
    in_full(&error.without_url())
}

#[cfg(test)]
mod tests;
