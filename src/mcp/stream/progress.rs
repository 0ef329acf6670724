//! Progress that is told to a client: Placet's own count, which the server's goes on from
//! (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>),
//! and which of the server's log messages are.

use crate::domain::json::{self, Node};
use crate::protocol::{jsonrpc, meta, method};
use crate::upstream::{Level, Notification, WireEra};

/// Progress towards the client under its own token, strictly increasing. Each heartbeat counts
/// one, and the upstream's own numbers are moved up by the heartbeats so far.
#[derive(Debug)]
pub(crate) struct Progress {
    token: Option<String>,
    era: WireEra,
    log: bool,
    /// The least severe log messages that are told.
    level: Option<Level>,
    beats: u32,
    /// The upstream's last number, as sent.
    heard: Option<String>,
    /// What the client was told last.
    told: Option<f64>,
}

impl Progress {
    /// For a request with this progress token, raw JSON.
    pub(crate) fn new(token: Option<String>, era: WireEra, log: bool) -> Self {
        Self { token, era, log, level: None, beats: 0, heard: None, told: None }
    }

    /// With log messages of this level and above only.
    pub(crate) fn logging(self, level: Option<Level>) -> Self {
        Self { level, ..self }
    }

    /// Whether the client wants progress.
    pub(crate) fn wanted(&self) -> bool {
        self.token.is_some()
    }

    /// A heartbeat; none where the client gave no token.
    pub(crate) fn beat(&mut self, text: &str) -> Option<String> {
        let token = self.token.clone()?;
        self.beats += 1;
        let progress = shift(self.heard.as_deref().unwrap_or("0"), self.beats);
        self.rise(&progress)?;
        let params = format!(
            "{{\"progressToken\":{token},\"progress\":{progress},\"message\":{}}}",
            json::quote(text)
        );
        Some(jsonrpc::notification(method::NOTIFICATIONS_PROGRESS, Some(&params)))
    }

    /// Something the upstream said about the call, in the client's terms; none if it isn't for
    /// this client.
    pub(crate) fn upstream(&mut self, note: &Notification) -> Option<String> {
        match note.method.as_str() {
            method::NOTIFICATIONS_PROGRESS => self.progress(note.params.as_deref()?),
            // Without a log level a modern client wants no log messages:
            // https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging#per-request-log-level
            method::NOTIFICATIONS_MESSAGE if self.era == WireEra::Modern && !self.log => None,
            // The server was told the lowest level that anybody wants over its connection.
            method::NOTIFICATIONS_MESSAGE
                if self.level.is_some_and(|l| !l.admits(note.params.as_deref())) =>
            {
                None
            }
            method::NOTIFICATIONS_MESSAGE => {
                Some(jsonrpc::notification(&note.method, note.params.as_deref()))
            }
            _ => None,
        }
    }

    fn progress(&mut self, params: &str) -> Option<String> {
        let token = self.token.clone()?;
        let node = json::parse(params).ok()?;
        let sent = node.get("progress")?.as_number()?;
        self.rise(&shift(sent, self.beats))?;
        self.heard = Some(sent.to_owned());
        let params = node.map_members(|m| {
            Some(match (m.key.as_ref(), m.node.as_number()) {
                (meta::PROGRESS_TOKEN, _) => token.as_str().into(),
                ("progress" | "total", Some(digits)) => shift(digits, self.beats).into(),
                _ => m.node.raw.into(),
            })
        });
        Some(jsonrpc::notification(method::NOTIFICATIONS_PROGRESS, Some(&params)))
    }

    /// Takes note of a number that is about to be told; none if it is not more than the last, since
    /// progress must rise
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>).
    fn rise(&mut self, progress: &str) -> Option<()> {
        let value = progress.parse::<f64>().ok().filter(|v| v.is_finite())?;
        if self.told.is_some_and(|told| value <= told) {
            return None;
        }
        self.told = Some(value);
        Some(())
    }
}

/// A number moved up by the heartbeats counted so far; as sent where there were none.
fn shift(digits: &str, offset: u32) -> String {
    if offset == 0 {
        return digits.to_owned();
    }
    match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(n), _) => n.saturating_add(i64::from(offset)).to_string(),
        (_, Ok(n)) if n.is_finite() => (n + f64::from(offset)).to_string(),
        _ => digits.to_owned(),
    }
}

/// The progress token of a request, raw JSON.
pub(crate) fn progress_token(params: Option<&Node<'_>>) -> Option<String> {
    let token = params?.get("_meta")?.get(meta::PROGRESS_TOKEN)?;
    (token.as_str().is_some() || token.as_number().is_some()).then(|| token.raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(params: &str) -> Notification {
        Notification { method: "notifications/progress".into(), params: Some(params.into()) }
    }

    #[test]
    fn the_upstreams_progress_continues_the_count_of_the_heartbeats() {
        let mut progress = Progress::new(Some("\"mine\"".into()), WireEra::Legacy, false);
        progress.beat("waiting");
        progress.beat("waiting");

        let sent =
            progress.upstream(&note(r#"{"progressToken":9,"progress":1,"total":4}"#)).unwrap();

        assert!(sent.contains(r#"{"progressToken":"mine","progress":3,"total":6}"#), "{sent}");
        assert_eq!(progress.upstream(&note(r#"{"progressToken":9,"progress":1}"#)), None);
    }

    #[test]
    fn heartbeats_and_upstream_progress_rise_however_they_alternate() {
        let mut progress = Progress::new(Some("1".into()), WireEra::Legacy, false);
        let mut told = Vec::new();
        let mut tell = |text: Option<String>| {
            let text = text.unwrap();
            let node = json::parse(&text).unwrap();
            let number = node.get("params").unwrap().get("progress").unwrap().as_number().unwrap();
            told.push(number.parse::<f64>().unwrap());
        };

        tell(progress.beat("waiting"));
        tell(progress.upstream(&note(r#"{"progress":50,"total":100}"#)));
        tell(progress.beat("running"));
        tell(progress.beat("running"));
        tell(progress.upstream(&note(r#"{"progress":50.5,"total":100}"#)));

        assert_eq!(told, [1.0, 51.0, 52.0, 53.0, 53.5]);
    }

    #[test]
    fn progress_that_begins_at_nought_is_told() {
        let mut progress = Progress::new(Some("1".into()), WireEra::Legacy, false);

        assert!(progress.upstream(&note(r#"{"progress":0,"total":9}"#)).is_some());
        assert!(progress.upstream(&note(r#"{"progress":0,"total":9}"#)).is_none());
    }

    #[test]
    fn without_heartbeats_numbers_pass_as_sent() {
        let mut progress = Progress::new(Some("7".into()), WireEra::Modern, false);

        let sent = progress.upstream(&note(r#"{"progressToken":9,"progress":0.50}"#)).unwrap();

        assert!(sent.contains(r#"{"progressToken":7,"progress":0.50}"#), "{sent}");
    }

    #[test]
    fn a_client_without_a_token_gets_no_progress() {
        let mut progress = Progress::new(None, WireEra::Legacy, false);

        assert_eq!(progress.beat("waiting"), None);
        assert_eq!(progress.upstream(&note(r#"{"progressToken":9,"progress":1}"#)), None);
    }
}
