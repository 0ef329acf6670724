//! URIs as lists, records and logs show them: without what is often a secret.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in the place of a user, a query or a fragment.
const LEFT_OUT: &str = "…";

/// A URI in a text, as far as the next blank or quote; a backslash goes with what it escapes.
static IN_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b[a-z][a-z0-9+.-]*:(?:\\.|[^\s"'<>\\])+"#)
        .expect("a constant pattern is valid")
});

/// The URI with its user and password, its query and its fragment left out; each is seen to be there.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-3>
pub(crate) fn shown_uri(uri: &str) -> Cow<'_, str> {
    let lower = uri.to_ascii_lowercase();
    // An escaped mark and a parameter of the path may hold as much as a query.
    let marks = ["?", "#", "%3f", "%23"];
    let mut end = marks.iter().filter_map(|mark| lower.find(mark)).min();
    // A `;` alone ends a sentence.
    let parameter = uri.find(';').filter(|at| uri[*at..].contains('='));
    end = [end, parameter].into_iter().flatten().min();
    if lower.trim_start().starts_with("data:") {
        end = [end, uri.find(',')].into_iter().flatten().min();
    }
    let place = &uri[..end.unwrap_or(uri.len())];
    let slash = |c: char| matches!(c, '/' | '\\');
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let scheme = place.find(':').filter(|at| place[..*at].chars().all(in_scheme));
    let scheme = scheme.map_or(0, |at| at + 1);
    let begin = scheme + place[scheme..].find(|c| !slash(c)).unwrap_or(0);
    let rest = &place[begin..];
    let authority = &rest[..rest.find(slash).unwrap_or(rest.len())];
    // Without slashes it may be an address of mail; with a colon there is a password.
    let is_user = |at: &usize| begin > scheme || rest[..*at].contains(':');
    let user = authority.rfind('@').filter(is_user).or_else(|| {
        // What is no port may be the beginning of a password with a slash in it.
        let after = match authority.split_once(':') {
            Some((_, port)) if !port.bytes().all(|b| b.is_ascii_digit()) => rest,
            _ => &rest[authority.len()..],
        };
        let at = rest.rfind('@').filter(|at| *at >= rest.len() - after.len())?;
        rest[rest.len() - after.len()..at].contains(':').then_some(at)
    });
    if end.is_none() && user.is_none() {
        return Cow::Borrowed(uri);
    }
    let mut out = place[..begin].to_owned();
    match user {
        Some(at) => {
            out.push_str(LEFT_OUT);
            out.push_str(&place[begin + at..]);
        }
        None => out.push_str(&place[begin..]),
    }
    if let Some(end) = end {
        out.push_str(&uri[end..=end]);
        out.push_str(LEFT_OUT);
    }
    Cow::Owned(out)
}

/// The text with every URI in it as [`shown_uri`] shows it.
pub(crate) fn with_shown_uris(text: &str) -> Cow<'_, str> {
    IN_TEXT.replace_all(text, |found: &Captures<'_>| shown_uri(&found[0]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_queries_and_fragments_are_left_out_and_nothing_else() {
        for (uri, shown) in [
            ("https://x/?token=S", "https://x/?…"),
            ("https://x/a?token=S\nforged", "https://x/a?…"),
            ("https://x/a#S?b", "https://x/a#…"),
            ("postgres://u:p@prod/t", "postgres://…@prod/t"),
            ("postgres://u:p/q@prod/t", "postgres://…@prod/t"),
            ("https://u@h:8/a@b?c", "https://…@h:8/a@b?…"),
            ("memo:a?S", "memo:a?…"),
            ("https://h/a@b", "https://h/a@b"),
            ("mailto:a@b", "mailto:a@b"),
            ("file:///a/b", "file:///a/b"),
            ("https:u:p@x/a", "https:…@x/a"),
            ("//u:p@x/", "//…@x/"),
            ("https://x\\u:p@y", "https://…@y"),
            ("custom:u:p@h", "custom:…@h"),
            ("https://x/a;token=S", "https://x/a;…"),
            ("https://x/%3Ftoken=S", "https://x/%…"),
            ("data:text/plain,S", "data:text/plain,…"),
            ("", ""),
        ] {
            assert_eq!(shown_uri(uri), shown, "{uri}");
        }
    }

    #[test]
    fn uris_are_found_in_texts_and_json() {
        assert_eq!(
            with_shown_uris(r#"{"m":"read https://u:p@x/?a=\"S\"&b\nc or x:y#S","n":1}"#),
            r#"{"m":"read https://…@x/?… or x:y#…","n":1}"#
        );
        let plain = "INFO placet::app: why? listening on http://127.0.0.1:1; n=#1";
        assert_eq!(with_shown_uris(plain), plain);
    }
}
