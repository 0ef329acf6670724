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
    let end = uri.find(['?', '#']);
    let place = &uri[..end.unwrap_or(uri.len())];
    let slash = |c: char| matches!(c, '/' | '\\');
    let scheme = place.find(':').map_or(0, |at| at + 1);
    let begin = scheme + place[scheme..].find(|c| !slash(c)).unwrap_or(0);
    let rest = &place[begin..];
    let authority = &rest[..rest.find(slash).unwrap_or(rest.len())];
    let user = authority.rfind('@').or_else(|| {
        // What is no port may be the beginning of a password with a slash in it.
        let (_, port) = authority.split_once(':')?;
        if port.bytes().all(|b| b.is_ascii_digit()) { None } else { rest.find('@') }
    });
    let user = user.filter(|_| begin > scheme);
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
