//! Opens the legacy session at the broker and keeps it. It outlives a broker that goes and comes
//! back; where the broker has forgotten it, another is opened with the client's own words, so that
//! the client need not begin anew, and gets told what it asked for before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use crate::domain::json::{self, Node};
use crate::mcp::envelope::Message;
use crate::protocol::{header_name, jsonrpc, method};

use super::bridge::{ASIDE, Bridge};
use super::session::Session;
use super::text::{detail, text_of};

/// How long the broker may take to open a session: it may have to start the server first.
const OPENED_WITHIN: Duration = Duration::from_mins(1);
/// Wait before the session's stream is opened again; doubles while that fails.
const AGAIN_FIRST: Duration = Duration::from_millis(250);
/// Longest such wait.
const AGAIN_LONGEST: Duration = Duration::from_secs(5);

impl Bridge {
    /// Opens a session with the client's `initialize`
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>).
    pub(super) async fn begin(self: &Arc<Self>, message: Message, line: Vec<u8>) {
        match self.hello(&line, true).await {
            Ok((session, answer)) => {
                let first = self.session.lock().await.replace(session).is_none();
                self.say(answer).await;
                if first {
                    let bridge = Arc::clone(self);
                    self.tracker.spawn(async move {
                        tokio::select! {
                            () = bridge.hear() => {}
                            () = bridge.ended.cancelled() => {}
                        }
                    });
                }
            }
            Err(Refused::Answered(answer)) => self.say(answer).await,
            Err(Refused::Failed(why)) => self.fail(&message, &why).await,
        }
    }

    async fn hello(&self, line: &[u8], wait: bool) -> Result<(Session, String), Refused> {
        let request =
            || self.client.post(self.endpoint.clone()).timeout(OPENED_WITHIN).body(line.to_vec());
        let response = if wait {
            self.send(request).await.map_err(Refused::Failed)?
        } else {
            request().send().await.map_err(|e| Refused::Failed(text_of(e)))?
        };
        let status = response.status();
        let id = response.headers().get(header_name::SESSION_ID).cloned();
        let body = response.text().await.map_err(|e| Refused::Failed(text_of(e)))?;
        let node = json::parse(&body).ok().filter(|n| n.get("jsonrpc").is_some());
        let Some(node) = node else { return Err(Refused::Failed(detail(status, &body))) };
        let version = node.get("result").and_then(|r| r.get("protocolVersion"));
        let (Some(id), Some(version)) = (id, version.and_then(Node::as_str)) else {
            return Err(Refused::Answered(body));
        };
        let session = Session {
            id,
            version: version.to_owned(),
            hello: line.to_vec(),
            level: None,
            subscribed: BTreeMap::new(),
        };
        Ok((session, body))
    }

    /// Opens a session in place of one that the broker has forgotten.
    ///
    /// # Errors
    /// In words, why there is none; the client must then begin anew
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>).
    pub(super) async fn renew(&self, forgotten: &HeaderValue) -> Result<(), String> {
        let mut place = self.session.lock().await;
        let Some(old) = place.clone().filter(|s| s.id == *forgotten) else { return Ok(()) };
        let begin_anew = |why: &str| {
            format!("the broker has forgotten this session, and {why}: begin again with initialize")
        };
        let (mut session, _) = self.hello(&old.hello, false).await.map_err(|refused| {
            begin_anew(&match refused {
                Refused::Answered(_) => "does not open another".to_owned(),
                Refused::Failed(why) => why,
            })
        })?;
        if session.version != old.version {
            let why = format!("speaks {} now instead of {}", session.version, old.version);
            return Err(begin_anew(&why));
        }
        tracing::warn!("the broker had forgotten the session: another was opened in its place");
        session.level = old.level;
        session.subscribed = old.subscribed;
        let ready = jsonrpc::notification(method::NOTIFICATIONS_INITIALIZED, None).into_bytes();
        let again = session.level.iter().chain(session.subscribed.values()).cloned();
        for line in std::iter::once(ready).chain(again) {
            let said = self.within(Some(&session)).body(line).timeout(ASIDE).send().await;
            if let Err(error) = said {
                tracing::warn!("the new session was not told all of the old: {}", text_of(error));
            }
        }
        *place = Some(session);
        drop(place);
        // What was listed or read before may have changed.
        for feature in ["tools", "prompts", "resources"] {
            let method = format!("notifications/{feature}/list_changed");
            self.say(jsonrpc::notification(&method, None)).await;
        }
        Ok(())
    }

    /// A POST within a session.
    pub(super) fn within(&self, session: Option<&Session>) -> reqwest::RequestBuilder {
        let request = self.client.post(self.endpoint.clone());
        match session {
            Some(session) => request
                .header(header_name::SESSION_ID, session.id.clone())
                .header(header_name::PROTOCOL_VERSION, &session.version),
            None => request,
        }
    }

    /// Remembers what another session would have to be told.
    pub(super) async fn remember(&self, message: &Message, line: &[u8]) {
        if let Some(session) = &mut *self.session.lock().await {
            session.remember(message, line);
        }
    }

    /// Reads the stream of messages that belong to no request, as long as there is a session.
    async fn hear(&self) {
        let mut wait = AGAIN_FIRST;
        loop {
            let Some(session) = self.session.lock().await.clone() else { return };
            let request = self
                .client
                .get(self.endpoint.clone())
                .header("accept", "text/event-stream")
                .header(header_name::SESSION_ID, session.id.clone())
                .header(header_name::PROTOCOL_VERSION, &session.version);
            match request.send().await {
                Ok(response) if response.status().is_success() => {
                    wait = AGAIN_FIRST;
                    self.stream(None, response).await;
                }
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                    if let Err(why) = self.renew(&session.id).await {
                        tracing::warn!("{why}");
                        wait = AGAIN_LONGEST;
                    }
                }
                Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => return,
                Ok(_) | Err(_) => wait = (wait * 2).min(AGAIN_LONGEST),
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Why no session was opened.
enum Refused {
    /// The broker refused; its own JSON-RPC answer.
    Answered(String),
    /// The broker gave no answer; why, in words.
    Failed(String),
}
