//! The HTTP API's client: bearer token, `Placet-Via: cli`, problems as one sentence.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, Response};
use url::Url;

use crate::cli::{Failure, text};
use crate::domain::error_text::root_cause;
use crate::domain::json::{self, Node};

use super::ApprovalsArgs;

/// The variable that holds the reviewer's token.
pub(super) const TOKEN_VARIABLE: &str = "PLACET_TOKEN";

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take; the stream of events has no such limit.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Talks to one broker.
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
    authorization: HeaderValue,
}

impl Client {
    /// For the server and token that were given.
    ///
    /// # Errors
    /// `--server` is not an HTTP address, there is no reviewer's token or it can't stand in a
    /// header (exit code 2), or the HTTP client can't be made (exit code 1).
    pub(super) fn new(args: &ApprovalsArgs) -> Result<Self, Failure> {
        if !matches!(args.server.scheme(), "http" | "https") {
            return Err(Failure::misused(
                "--server: expected http:// or https://, as in http://127.0.0.1:8420",
            ));
        }
        let token = match &args.token_file {
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                Failure::misused(format!("--token-file {}: {error}", file.display()))
            })?,
            None => std::env::var(TOKEN_VARIABLE).map_err(|_| {
                Failure::misused(format!(
                    "no reviewer's token; set {TOKEN_VARIABLE} or name a file with --token-file"
                ))
            })?,
        };
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| Failure::misused("the token holds characters that can't be sent"))?;
        authorization.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
        Ok(Self { http, server: args.server.clone(), authorization })
    }

    /// The body of an answer to GET.
    ///
    /// # Errors
    /// The broker can't be reached or answers with another status than 2xx; the message is one
    /// line, exit code 1.
    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<String, Failure> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.body(self.http.get(url).timeout(ANSWER_TIMEOUT)).await
    }

    /// The body of an answer to POST.
    ///
    /// # Errors
    /// The broker can't be reached or answers with another status than 2xx; the message is one
    /// line, exit code 1.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<String, Failure> {
        let request = self
            .http
            .post(self.url(path))
            .timeout(ANSWER_TIMEOUT)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        self.body(request).await
    }

    /// An answer that goes on: Server-Sent Events.
    ///
    /// # Errors
    /// The broker can't be reached or answers with another status than 2xx; the message is one
    /// line, exit code 1.
    pub(super) async fn stream(
        &self,
        path: &str,
        last_event: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut request = self.http.get(self.url(path)).header("accept", "text/event-stream");
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        self.send(request).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.server.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    async fn body(&self, request: RequestBuilder) -> Result<String, Failure> {
        self.send(request).await?.text().await.map_err(|error| self.unreachable(&error))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request
            .header(AUTHORIZATION, self.authorization.clone())
            .header("placet-via", "cli")
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.text().await.unwrap_or_default();
        Err(Failure::failed(refusal(status, &body)))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = root_cause(error);
        let mut server = self.server.clone();
        // Only a name and password in the address could be secret.
        let _ = server.set_password(None);
        let _ = server.set_username("");
        Failure::failed(format!(
            "{server}: {}; is the broker running there? name another with --server",
            text::one_line(&why)
        ))
    }
}

/// The failure for an answer that is not from a broker, or not from one of this version.
pub(super) fn not_a_broker() -> Failure {
    Failure::failed("the server answered something that is no Approval; is --server a broker?")
}

/// A problem document as one sentence.
fn refusal(status: u16, body: &str) -> String {
    let node = json::parse(body).ok();
    let of = |key: &str| {
        node.as_ref().and_then(|n| n.get(key)).and_then(Node::as_str).unwrap_or_default()
    };
    let detail = if of("detail").is_empty() { of("title") } else { of("detail") };
    let mend = if status == 401 { "; check the token" } else { "" };
    let state = node
        .as_ref()
        .and_then(|n| n.get("approval")?.get("state")?.as_str())
        .map(|state| format!(" (it is {state})"))
        .unwrap_or_default();
    text::one_line(&match (of("code"), detail) {
        ("", "") => format!("HTTP {status}{mend}"),
        (code, "") => format!("{code}{state}{mend}"),
        ("", detail) => format!("HTTP {status}: {detail}{mend}"),
        (code, detail) => format!("{code}: {detail}{state}{mend}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_code_detail_and_state() {
        let body = r#"{"title":"Conflict","detail":"ana decided","code":"already_decided",
                       "approval":{"state":"rejected"}}"#;

        assert_eq!(refusal(409, body), "already_decided: ana decided (it is rejected)");
        assert_eq!(refusal(502, "<html>"), "HTTP 502");
        assert_eq!(
            refusal(401, r#"{"title":"Unauthorized","code":"unauthorized"}"#),
            "unauthorized: Unauthorized; check the token"
        );
    }
}
