//! Lines of the log: one an event, whatever the names in it hold.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;
use crate::domain::shown_uri::with_shown_uris;
use crate::domain::visible_text::is_visible;

/// Begins to log to stderr. There are no colours: their escapes could not be told from those of others.
pub fn begin(format: LogFormat, filter: EnvFilter) {
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let logs = logs.with_writer(LogLines(io::stderr));
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// Makes writers that keep each event on its line: what can't be seen is written as JSON escapes it
/// (`\\u000a`), and URIs without user, query and fragment.
#[derive(Debug, Clone)]
struct LogLines<M>(M);

struct LineWriter<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for LogLines<M> {
    type Writer = LineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(self.0.make_writer())
    }
}

impl<W: Write> Write for LineWriter<W> {
    /// Writes one event, which comes whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = harmless(&with_shown_uris(text.trim_end_matches('\n')));
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text with every character that can't be seen, or would reorder what is seen, as JSON writes it.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        if is_visible(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, event: impl FnOnce()) -> String {
        let sink = Sink::default();
        let made = sink.clone();
        let logs =
            tracing_subscriber::fmt().with_ansi(false).with_writer(LogLines(move || made.clone()));
        if json {
            tracing::subscriber::with_default(logs.json().finish(), event);
        } else {
            tracing::subscriber::with_default(logs.finish(), event);
        }
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_and_uris_of_others_stay_on_their_line_and_tell_no_secret() {
        let uri = "https://u:hunter2@x/a?token=S3CRET\r\n2026 INFO placet: approved \u{1b}[31m\u{202e}\u{9b}\u{2028}";
        for json in [false, true] {
            let text = logged(json, || {
                tracing::info!(tool = %uri, odd = uri, "requested {uri} and {uri:?}");
            });

            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let raw = |c: char| c != '\n' && !is_visible(c);
            assert!(!text.contains(raw), "{text:?}");
            assert!(!text.contains("hunter2") && !text.contains("S3CRET"), "{text}");
            assert!(text.contains("https://…@x/a?…"), "{text}");
            if json {
                serde_json::from_str::<serde_json::Value>(&text).unwrap();
            }
        }
    }
}
