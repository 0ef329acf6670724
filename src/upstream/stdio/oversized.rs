//! A line of a child that is larger than any message may be: which request it answers, found in
//! its beginning and its end, since what is between is not kept.

use std::collections::VecDeque;

/// How much of the end of such a line is kept, bytes.
const KEPT: usize = 512;

/// The last bytes of what was left out of a line.
#[derive(Debug, Default)]
pub(super) struct End(VecDeque<u8>);

impl End {
    /// The next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let piece = &piece[piece.len().saturating_sub(KEPT)..];
        let over = (self.0.len() + piece.len()).saturating_sub(KEPT);
        self.0.drain(..over.min(self.0.len()));
        self.0.extend(piece);
    }
}

/// What a line that is too large seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oversized {
    /// The answer to this request.
    Answer(u64),
    /// An answer, nobody knows to what.
    SomeAnswer,
    /// Something else.
    Other,
}

/// Looks at the beginning of a line and at the end of what was left out of it.
pub(super) fn look(beginning: &[u8], mut end: End) -> Oversized {
    let mut keys = TopKeys { bytes: beginning, at: 0 };
    if keys.skip_to_object().is_none() {
        return Oversized::Other;
    }
    let (mut is_answer, mut id) = (false, None);
    while let Some((key, value)) = keys.next() {
        match key {
            b"method" => return Oversized::Other,
            // One that breaks off may be another number.
            b"id" if keys.at < beginning.len() => id = Some(number(value)),
            b"result" | b"error" => is_answer = true,
            _ => {}
        }
    }
    if !is_answer {
        return Oversized::Other;
    }
    if let Some(id) = id {
        return id.map_or(Oversized::SomeAnswer, Oversized::Answer);
    }
    last_id(end.0.make_contiguous()).map_or(Oversized::SomeAnswer, Oversized::Answer)
}

/// The id of a message that ends with it: `,"id":7}`.
fn last_id(end: &[u8]) -> Option<u64> {
    let end = end.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let digits = end.iter().rev().take_while(|b| b.is_ascii_digit() || **b == b'"').count();
    let (before, value) = end.split_at(end.len() - digits);
    let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    let before = before.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let before = before.strip_suffix(b"\"id\"")?.trim_ascii_end();
    // Inside a string the quotes around it would be escaped.
    before.ends_with(b",").then(|| number(value)).flatten()
}

fn number(value: &[u8]) -> Option<u64> {
    let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The members of the outermost object of a text that may break off anywhere.
struct TopKeys<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl<'t> TopKeys<'t> {
    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn skip_to_object(&mut self) -> Option<()> {
        self.space();
        self.take(b'{')
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    /// The next key, and its value as far as it is there.
    fn next(&mut self) -> Option<(&'t [u8], &'t [u8])> {
        self.space();
        let from = self.at;
        self.string()?;
        let key = &self.bytes[from + 1..self.at - 1];
        self.space();
        self.take(b':')?;
        self.space();
        let from = self.at;
        // A value that breaks off tells its key at least.
        let whole = self.value();
        let value = self.bytes[from..self.at].trim_ascii_end();
        if whole.is_some() {
            self.at += 1;
        }
        Some((key, value))
    }

    /// Skips a string with its quotes.
    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            match self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// Skips a value up to the comma or bracket after it; none where the text breaks off.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.bytes.get(self.at) {
                None => {
                    self.at = self.bytes.len();
                    return None;
                }
                Some(b'"') => {
                    if self.string().is_none() {
                        self.at = self.bytes.len();
                        return None;
                    }
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') if depth > 0 => depth -= 1,
                Some(b'}' | b']' | b',') if depth == 0 => return Some(()),
                Some(_) => {}
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Oversized {
        let (beginning, rest) = text.as_bytes().split_at(text.len().min(60));
        let mut end = End::default();
        rest.chunks(7).for_each(|piece| end.push(piece));
        look(beginning, end)
    }

    #[test]
    fn the_request_of_an_answer_is_found_before_and_after_what_was_left_out() {
        let long = "x\\\"}]".repeat(300);

        for text in [
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":"{long}"}}"#),
            format!(r#" {{"id" : "7" ,"result":{{"a":["{long}"]}}}}"#),
            format!(r#"{{"result":{{"a":[{{"b":"{long}"}}]}},"jsonrpc":"2.0","id": 7 }}"#),
            format!(r#"{{"result":"{long}","id":"7"}}"#),
        ] {
            assert_eq!(found(&text), Oversized::Answer(7), "{text}");
        }
    }

    #[test]
    fn ids_inside_of_values_are_nobodys() {
        let long = "x".repeat(3000);

        for (text, want) in [
            (format!(r#"{{"result":{{"id":7,"a":"{long}"}}}}"#), Oversized::SomeAnswer),
            (format!(r#"{{"result":"{long},\"id\":7"}}"#), Oversized::SomeAnswer),
            (format!(r#"{{"method":"m","params":"{long}","id":7}}"#), Oversized::Other),
            (format!(r#"{{"id":7,"method":"m","params":"{long}"}}"#), Oversized::Other),
            (format!(r#"["{long}"]"#), Oversized::Other),
            (long.clone(), Oversized::Other),
        ] {
            assert_eq!(found(&text), want, "{text}");
        }
    }

    #[test]
    fn what_is_kept_of_the_end_is_bounded() {
        let mut end = End::default();
        for _ in 0..100 {
            end.push(&[b'x'; 3 * KEPT + 1]);
            end.push(b"yz");
        }

        assert_eq!(end.0.len(), KEPT);
        assert!(end.0.make_contiguous().ends_with(b"xyz"));
    }
}
