//! The two pipes to the client: one message per line.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line longer than the limit; all of it was thrown away.
    TooLong,
    /// The client has closed its end.
    End,
}

/// Reads one line of at most `limit` bytes.
///
/// # Errors
/// The pipe can't be read: the [`std::io::Error`] of the reader.
pub(super) async fn read(
    input: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> std::io::Result<Read> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(match (too_long, line.is_empty()) {
                (true, _) => Read::TooLong,
                (false, true) => Read::End,
                (false, false) => Read::Line(line),
            });
        }
        let end = chunk.iter().position(|b| *b == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        too_long |= line.len() + taken > limit + 1;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(&chunk[..taken]);
        }
        input.consume(taken);
        if end.is_some() {
            if too_long {
                return Ok(Read::TooLong);
            }
            while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                line.pop();
            }
            return Ok(Read::Line(line));
        }
    }
}

/// Writes lines until there are no more. If the client no longer takes them, `gone` fires.
pub(super) async fn write(mut lines: mpsc::Receiver<String>, gone: CancellationToken) {
    let mut out = tokio::io::stdout();
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if out.write_all(line.as_bytes()).await.is_err() || out.flush().await.is_err() {
            gone.cancel();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_costs_only_itself() {
        let text = b"{}\r\n123456789\nshort\nlast";
        let mut input = BufReader::with_capacity(4, &text[..]);

        assert_eq!(read(&mut input, 8).await.unwrap(), Read::Line(b"{}".to_vec()));
        assert_eq!(read(&mut input, 8).await.unwrap(), Read::TooLong);
        assert_eq!(read(&mut input, 8).await.unwrap(), Read::Line(b"short".to_vec()));
        assert_eq!(read(&mut input, 8).await.unwrap(), Read::Line(b"last".to_vec()));
        assert_eq!(read(&mut input, 8).await.unwrap(), Read::End);
    }
}
