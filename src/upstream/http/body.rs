//! The body of a response: what it is by its first byte rather than by what its head says, and why
//! some are not read at all.

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, LOCATION};
use url::Url;

use super::super::message;
use super::response::Response;

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One JSON text.
    Json,
    /// A stream of events.
    Events,
}

/// A body of which the beginning was looked at.
pub(super) struct Body {
    response: Response,
    early: Option<Bytes>,
    broken: Option<String>,
}

impl Body {
    /// The rest of a response's body.
    pub(super) fn of(response: Response) -> Self {
        Self { response, early: None, broken: None }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// Why the connection broke, in words.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        match (self.early.take(), self.broken.take()) {
            (Some(bytes), broken) => {
                self.broken = broken;
                Ok(Some(bytes))
            }
            (None, Some(broken)) => Err(broken),
            (None, None) => self.response.chunk().await,
        }
    }

    /// Needs nothing more of it.
    pub(super) fn finish(self) {
        self.response.finish();
    }

    /// Reads up to the first byte that tells what it is. Some servers name no type, or another;
    /// what begins as JSON is JSON, and what begins with a field of an event is a stream.
    pub(super) async fn kind(&mut self) -> Kind {
        let named = self.response.is_event_stream();
        let named = if named { Kind::Events } else { Kind::Json };
        // An event's first line is short, and so is what may stand before it.
        let mut begun = Vec::new();
        loop {
            let bytes = match self.response.chunk().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            };
            let is_first = begun.is_empty();
            begun.extend_from_slice(&bytes);
            let known = begins(&begun);
            if known.is_some() || begun.len() > LOOKED_AT {
                self.early = Some(if is_first { bytes } else { Bytes::from(begun) });
                return known.unwrap_or(named);
            }
        }
        self.early = (!begun.is_empty()).then(|| Bytes::from(begun));
        named
    }
}

/// Most bytes that are looked at to tell what a body is.
const LOOKED_AT: usize = 64;

/// The fields of an event, and the beginning of a comment
/// (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>).
const FIELDS: [&[u8]; 5] = [b":", b"data", b"event", b"id", b"retry"];

fn begins(bytes: &[u8]) -> Option<Kind> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes).trim_ascii_start();
    match bytes.first()? {
        b'{' | b'[' => Some(Kind::Json),
        _ => FIELDS.iter().any(|field| bytes.starts_with(field)).then_some(Kind::Events),
    }
}

/// Why the body can't be read, where its head says so: a redirect, or a compression that was not
/// asked for. `url` is where the request went, and `upstream` whose that is.
pub(super) fn unread(response: &Response, url: &Url, upstream: &str) -> Option<String> {
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        return Some(match location.and_then(|to| url.join(to).ok()) {
            Some(to) => format!(
                "answered HTTP {status} with Location {}: redirects are not followed, set url of \
                 [[upstreams]] {upstream:?} to the address that answers",
                without_secrets(to)
            ),
            None => format!("answered HTTP {status}, a redirect that says not where to"),
        });
    }
    let codings = response.headers().get_all(CONTENT_ENCODING).iter();
    let coding = codings
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))?;
    Some(format!(
        "answered HTTP {status} with Content-Encoding {}, though asked for identity alone: have the \
         server, or the proxy before it, not compress",
        message::printable(&coding)
    ))
}

/// An address without what may be secret in it: user, password, query and fragment.
fn without_secrets(mut url: Url) -> String {
    // What has no authority has no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    message::printable(url.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_it_begins_with() {
        for json in ["{}", "[", " \r\n{", "\u{feff}{\"id\":7}"] {
            assert_eq!(begins(json.as_bytes()), Some(Kind::Json), "{json}");
        }
        for events in [": hi", "data: {}", "\nevent: message", "id: 1", "retry: 5"] {
            assert_eq!(begins(events.as_bytes()), Some(Kind::Events), "{events}");
        }
        for neither in ["", " ", "<html>", "Internal Server Error"] {
            assert_eq!(begins(neither.as_bytes()), None, "{neither}");
        }
    }

    #[test]
    fn an_address_is_told_without_what_may_be_secret() {
        let url = Url::parse("https://u:p@h.example:8443/mcp/?token=S#f").unwrap();

        assert_eq!(without_secrets(url), "https://h.example:8443/mcp/");
    }
}
