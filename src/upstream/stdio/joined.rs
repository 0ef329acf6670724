//! A message that a child wrote over several lines, as those do that print their JSON for people:
//! the lines are one text until its brackets are closed.

use std::time::Duration;

use tokio::time::Instant;

/// How long the next line of a message may take. What is written for people is written at once.
const NEXT_LINE_WITHIN: Duration = Duration::from_secs(1);

/// The lines of a message that is not whole yet.
#[derive(Debug)]
pub(super) struct Joined {
    text: Vec<u8>,
    /// Brackets that are open.
    depth: usize,
    last: Instant,
}

impl Joined {
    /// Begins with this line, if it begins an object that it does not end.
    pub(super) fn begin(line: &[u8]) -> Option<Self> {
        if !line.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let depth = depth_after(0, line);
        (depth > 0).then(|| Self { text: line.to_vec(), depth, last: Instant::now() })
    }

    /// Takes the next line; true once the object has ended.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        self.text.push(b'\n');
        self.text.extend_from_slice(line);
        self.depth = depth_after(self.depth, line);
        self.last = Instant::now();
        self.depth == 0
    }

    /// How large it would be with this line, bytes.
    pub(super) fn len_with(&self, line: &[u8]) -> usize {
        self.text.len() + 1 + line.len()
    }

    /// Until when the next line is awaited.
    pub(super) fn until(&self) -> Instant {
        self.last + NEXT_LINE_WITHIN
    }

    /// What there is of it.
    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }
}

/// How many brackets are open after a line. No string goes on in the next line.
fn depth_after(mut depth: usize, line: &[u8]) -> usize {
    let (mut in_string, mut escaped) = (false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_message_until_its_brackets_are_closed() {
        let mut joined = Joined::begin(b"{").unwrap();

        for line in
            [&b"  \"id\": 7,\r"[..], b"  \"result\": { \"}\": \"\\\"{\",", b"", b"  \"a\": [1] }"]
        {
            assert!(!joined.push(line));
        }
        assert!(joined.push(b"}"));
        assert!(joined.into_text().ends_with(b"\n}"));
    }

    #[test]
    fn what_begins_no_object_or_ends_it_begins_no_message() {
        for line in ["", "text {", "[INFO] began {", "{}", "{\"a\":\"}\"}", "\"{\""] {
            assert!(Joined::begin(line.as_bytes()).is_none(), "{line}");
        }
        assert!(Joined::begin(b"  {\"a\":\"}\"").is_some());
    }
}
