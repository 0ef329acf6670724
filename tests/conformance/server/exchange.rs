//! One request while it is answered: what it asked for, and what may be said meanwhile.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::oneshot;

use super::Fixture;
use super::legacy::Session;
use super::modern::{META_CAPABILITIES, META_LOG_LEVEL};
use super::wire::{Fault, Stream, notification};

/// How long a client may take to answer a question.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Signs `requestState`; a secret of a fixture needs not be one.
const STATE_KEY: &[u8] = b"conformance fixture";

#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) fixture: Arc<Fixture>,
    pub(crate) params: Value,
    pub(crate) stream: Arc<Stream>,
    /// Of a legacy request.
    pub(crate) session: Option<Arc<Session>>,
}

impl Exchange {
    pub(crate) fn name(&self) -> &str {
        self.params["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn argument(&self, name: &str) -> &Value {
        &self.params["arguments"][name]
    }

    pub(crate) fn notify(&self, method: &str, params: Value) {
        self.stream.say(&notification(method, params));
    }

    /// Reports progress if the client asked for it.
    pub(crate) fn progress(&self, progress: u32, total: u32) {
        let token = &self.params["_meta"]["progressToken"];
        if !token.is_null() {
            let params = json!({"progressToken": token, "progress": progress, "total": total,
                "message": format!("Completed step {progress} of {total}")});
            self.notify("notifications/progress", params);
        }
    }

    /// Logs; in the modern era only for a client that named a level.
    pub(crate) fn log(&self, text: &str) {
        if self.session.is_some() || !self.params["_meta"][META_LOG_LEVEL].is_null() {
            let params = json!({"level": "info", "logger": "fixture", "data": text});
            self.notify("notifications/message", params);
        }
    }

    /// What the client declared under this name, if it did.
    pub(crate) fn declared(&self, capability: &str) -> Option<&Value> {
        match &self.session {
            Some(session) => session.capabilities.get(capability),
            None => self.params["_meta"][META_CAPABILITIES].get(capability),
        }
    }

    /// Asks the client, in the legacy era, and waits for its answer.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        let Some(session) = &self.session else {
            return Err("servers do not ask in this era".to_owned());
        };
        let capability = method.split('/').next().unwrap_or_default();
        if self.declared(capability).is_none() {
            return Err(format!("the client did not declare {capability}"));
        }
        let (sender, answer) = oneshot::channel();
        let id = json!(self.fixture.next());
        session.asked.lock().unwrap().insert(id.to_string(), sender);
        self.stream.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => match answer.get("error") {
                None => Ok(answer["result"].clone()),
                Some(error) => Err(error["message"].to_string()),
            },
            _ => Err("no answer".to_owned()),
        }
    }

    /// The client's answer to the question of this name, if it is one.
    pub(crate) fn response(&self, key: &str) -> Option<&Value> {
        self.params["inputResponses"].get(key).filter(|answer| answer.is_object())
    }

    /// What [`seal`] was given, `Null` if the client brought nothing.
    pub(crate) fn state(&self) -> Result<Value, Fault> {
        match &self.params["requestState"] {
            Value::Null => Ok(Value::Null),
            Value::String(sealed) => unseal(sealed)
                .ok_or_else(|| Fault::params("requestState failed its integrity check")),
            _ => Err(Fault::params("requestState must be a string")),
        }
    }
}

fn signature(data: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(STATE_KEY).unwrap();
    mac.update(data.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// A `requestState` that can't be changed on its way.
pub(crate) fn seal(state: &Value) -> String {
    let data = URL_SAFE_NO_PAD.encode(state.to_string());
    format!("{data}.{}", signature(&data))
}

fn unseal(sealed: &str) -> Option<Value> {
    let (data, signed) = sealed.split_once('.')?;
    if signature(data) != signed {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(data).ok()?).ok()
}
