//! Members taken out of JSON text by their key, wherever they stand, and no other byte with them. The
//! text need not be what the strict reader takes: what passes as the bytes it came in may have keys
//! twice, numbers that are none and any depth.

use std::borrow::Cow;
use std::ops::Range;

use super::fold_case;

/// The text without the members whose key begins with `prefix`, at any depth in every `_meta` and in the
/// `data` of every `error`; the text itself may be such an error. Keys are compared as readers do that
/// resolve escapes and ignore case; `prefix` is in lower case.
pub(crate) fn without_prefix<'a>(raw: &'a str, prefix: &str, is_error: bool) -> Cow<'a, str> {
    if is_plainly_without(raw, prefix) {
        return Cow::Borrowed(raw);
    }
    let mut scan = Scan::new(raw, prefix, is_error);
    scan.run();
    let mut removed = scan.removed;
    if removed.is_empty() {
        return Cow::Borrowed(raw);
    }
    removed.sort_by_key(|range| range.start);
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    for range in removed {
        // What lies inside of what was left out already adds nothing.
        out.push_str(&raw[at..range.start.max(at)]);
        at = at.max(range.end);
    }
    out.push_str(&raw[at..]);
    Cow::Owned(out)
}

/// Whether no key can begin with the prefix, seen without reading the text: it is ASCII, spells no
/// character as an escape that could stand in the prefix, and has it nowhere, in no case.
fn is_plainly_without(raw: &str, prefix: &str) -> bool {
    let (bytes, prefix) = (raw.as_bytes(), prefix.as_bytes());
    let Some((last, first)) = prefix.split_last() else { return false };
    if !raw.is_ascii() || last.is_ascii_alphabetic() {
        return false;
    }
    let spells = |at: usize| !matches!(bytes.get(at + 1), Some(b'n' | b't' | b'r' | b'"' | b'\\'));
    let ends =
        |at: usize| at >= first.len() && bytes[at - first.len()..at].eq_ignore_ascii_case(first);
    !raw.match_indices('\\').any(|(at, _)| spells(at))
        && !raw.match_indices(char::from(*last)).any(|(at, _)| ends(at))
}

struct Scan<'a> {
    raw: &'a str,
    prefix: &'a str,
    /// Whether the value that comes next, if it is an object, is an error.
    next_is_error: bool,
    open: Vec<Level>,
    removed: Vec<Range<usize>>,
    /// Just behind the last byte that is no white space.
    last: usize,
}

enum Level {
    Array,
    Object {
        /// Whether its members are looked at.
        watched: bool,
        /// Whether it is an error, whose `data` is to be watched.
        is_error: bool,
        /// Whether a key comes next.
        at_key: bool,
        /// Whether the value that comes next, if it is an object, is one to watch.
        next_watched: bool,
        member: Option<Member>,
        members: Vec<Member>,
    },
}

struct Member {
    start: usize,
    end: usize,
    removed: bool,
}

impl<'a> Scan<'a> {
    fn new(raw: &'a str, prefix: &'a str, is_error: bool) -> Self {
        Self {
            raw,
            prefix,
            next_is_error: is_error,
            open: Vec::new(),
            removed: Vec::new(),
            last: 0,
        }
    }

    fn run(&mut self) {
        let bytes = self.raw.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let from = at;
            at += 1;
            match bytes[from] {
                b'"' => {
                    while at < bytes.len() && bytes[at] != b'"' {
                        at += if bytes[at] == b'\\' { 2 } else { 1 };
                    }
                    at = (at + 1).min(bytes.len());
                    self.string(from..at);
                }
                b'{' => {
                    let watched =
                        matches!(self.open.last(), Some(Level::Object { next_watched: true, .. }));
                    let is_error = std::mem::take(&mut self.next_is_error);
                    self.open.push(Level::Object {
                        watched,
                        is_error,
                        at_key: true,
                        next_watched: false,
                        member: None,
                        members: Vec::new(),
                    });
                }
                b'[' => {
                    self.next_is_error = false;
                    self.open.push(Level::Array);
                }
                b',' => {
                    self.member_ends();
                    continue;
                }
                b'}' | b']' => {
                    self.member_ends();
                    if let Some(Level::Object { members, .. }) = self.open.pop() {
                        self.leave_out(&members);
                    }
                }
                byte if byte.is_ascii_whitespace() => continue,
                _ => {}
            }
            self.last = at;
        }
    }

    /// A string ends; it is a key where one is due.
    fn string(&mut self, place: Range<usize>) {
        let (raw, prefix) = (self.raw, self.prefix);
        let Some(Level::Object { watched, is_error, at_key, next_watched, member, .. }) =
            self.open.last_mut()
        else {
            return;
        };
        if !std::mem::take(at_key) {
            return;
        }
        let key = fold_case(&decoded(&raw[place.clone()]));
        *next_watched = key == "_meta" || (*is_error && key == "data");
        self.next_is_error = key == "error";
        if *watched {
            let removed = key.starts_with(prefix);
            *member = Some(Member { start: place.start, end: place.end, removed });
        }
    }

    fn member_ends(&mut self) {
        self.next_is_error = false;
        let last = self.last;
        if let Some(Level::Object { at_key, member, members, .. }) = self.open.last_mut() {
            *at_key = true;
            members.extend(member.take().map(|member| Member { end: last, ..member }));
        }
    }

    /// Each member goes with the comma before it; the first ones go with those behind them.
    fn leave_out(&mut self, members: &[Member]) {
        let mut kept = false;
        for (n, member) in members.iter().enumerate() {
            if !member.removed {
                kept = true;
                continue;
            }
            let next = members.get(n + 1);
            self.removed.push(if kept {
                members[n - 1].end..member.end
            } else {
                member.start..next.map_or(member.end, |next| next.start)
            });
        }
    }
}

/// A key as sent, with its quotes, without escapes. What is no character becomes U+FFFD.
fn decoded(key: &str) -> Cow<'_, str> {
    let inner = key.trim_matches('"');
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let unit = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                out.push(unit.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(c) => out.push(c),
            None => {}
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::json::parse;

    fn stripped(raw: &str) -> String {
        without_prefix(raw, "io.placet/", true).into_owned()
    }

    #[test]
    fn members_go_by_their_prefix_and_every_other_byte_stays() {
        for (raw, want) in [
            (
                r#"{"_meta":{"io.placet/decision":{"code":"approved"}},"n": 1.00}"#,
                r#"{"_meta":{},"n": 1.00}"#,
            ),
            (
                r#"{"_meta" : { "a":1 , "io.placet/x" : [ {} ] , "b":2 } }"#,
                r#"{"_meta" : { "a":1 , "b":2 } }"#,
            ),
            (r#"{"_meta":{"io.placet/x":1 , "io.placet/y":2, "b":2}}"#, r#"{"_meta":{"b":2}}"#),
            (
                r#"{"_meta":{"a":1, "io.placet/x":1, "io.placet/y":"},{" }}"#,
                r#"{"_meta":{"a":1 }}"#,
            ),
            (r#"{"_meta":{"\u0069o.placet\/decision":1,"a":1e2}}"#, r#"{"_meta":{"a":1e2}}"#),
            (r#"{"_meta":{"IO.Placet/Decision":1,"\u0130o.placet/":2}}"#, r#"{"_meta":{}}"#),
            (
                r#"{"\u005fmeta":{"io.placet/x":1},"_META":{"io.placet/x":1}}"#,
                r#"{"\u005fmeta":{},"_META":{}}"#,
            ),
            (
                r#"{"content":[{"_meta":{"io.placet/x":1},"text":"io.placet/x"}]}"#,
                r#"{"content":[{"_meta":{},"text":"io.placet/x"}]}"#,
            ),
            (r#"{"_meta":{"a":{"_meta":{"io.placet/x":1}}}}"#, r#"{"_meta":{"a":{"_meta":{}}}}"#),
            (
                r#"{"_meta":{"io.placet/x":{"_meta":{"io.placet/y":1}},"c":NaN}}"#,
                r#"{"_meta":{"c":NaN}}"#,
            ),
            (r#"{"_meta":{"io.placet/x":1,"io.placet/x":2}}"#, r#"{"_meta":{}}"#),
            (
                r#"{"code":1,"data":{"io.placet/decision":{},"a":[1]}}"#,
                r#"{"code":1,"data":{"a":[1]}}"#,
            ),
            (
                r#"{"status":"failed","error":{"code":1,"data":{"io.placet/decision":{},"a":1}}}"#,
                r#"{"status":"failed","error":{"code":1,"data":{"a":1}}}"#,
            ),
            (
                r#"[{"\u0065rror":{"\u0064ata":{"io.placet/x":{"error":{"data":{}}}}}}]"#,
                r#"[{"\u0065rror":{"\u0064ata":{}}}]"#,
            ),
        ] {
            assert_eq!(stripped(raw), want);
        }
    }

    #[test]
    fn what_is_not_a_mark_of_ours_stays() {
        for raw in [
            r#"{"io.placet/decision":1,"x":{"io.placet/x":1}}"#,
            r#"{"_meta":{"io.placetx/":1,"o.placet/":1,"io.other/placet/":1}}"#,
            r#"{"_meta":[{"io.placet/x":1}],"x":"_meta"}"#,
            r#"{"x":{"data":{"io.placet/x":1}}}"#,
            r#"{"error":[{"data":{"io.placet/x":1}}],"data":{"x":{"io.placet/x":1}}}"#,
            r#"{"error":"data","y":{"data":{"io.placet/x":1}}}"#,
            r#"[{"error":1},{"data":{"io.placet/x":1}}]"#,
            r#"{"error":{"data":[{"io.placet/x":1}],"x":{"data":{"io.placet/x":1}}}}"#,
            r#"[1,{"_meta":7},"{"]"#,
            "7",
            "",
            r#"{"_meta":{"io.placet/x"#,
            "]}{",
        ] {
            assert_eq!(stripped(raw), raw);
        }
        assert_eq!(
            without_prefix(r#"{"data":{"io.placet/x":1}}"#, "io.placet/", false),
            r#"{"data":{"io.placet/x":1}}"#
        );
    }

    #[test]
    fn any_depth_is_walked() {
        let deep = 200_000;
        let raw =
            format!(r#"{}{{"_meta":{{"io.placet/x":1}}}}{}"#, "[".repeat(deep), "]".repeat(deep));

        assert_eq!(stripped(&raw), raw.replace(r#""io.placet/x":1"#, ""));
    }

    proptest! {
        #[test]
        fn what_is_left_is_json_without_marks(
            keys in proptest::collection::vec("(io\\.placet/)?[ab]{1,2}", 0..6), spaces in "[ \n]{0,2}",
        ) {
            let mut keys = keys;
            keys.sort();
            keys.dedup();
            let members = |marks: bool| {
                let kept = keys.iter().filter(|k| marks || !k.starts_with("io.placet/"));
                let members: Vec<String> =
                    kept.map(|k| format!("{spaces}\"{k}\"{spaces}:[1]")).collect();
                members.join(",")
            };
            let left = stripped(&format!(r#"{{"x":[{{"_meta":{{{}}}}}]}}"#, members(true)));

            let wanted = format!(r#"{{"x":[{{"_meta":{{{}}}}}]}}"#, members(false));
            let canonical = |raw: &str| parse(raw).map(|node| node.canonical());
            prop_assert_eq!(canonical(&left).unwrap(), canonical(&wanted).unwrap());
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}:,\"\\\\ua0é_met/io.placd]{0,40}") {
            let _ = stripped(&text);
        }
    }
}
