//! URIs as the policy compares them: the bytes that are sent, and the other spellings that a
//! server may take for the same resource.
//!
//! The upstream gets the exact bytes, and nobody here knows how it reads them. So a URI is looked
//! at in several readings, and the strictest verdict of all of them holds: an agent gains nothing
//! by spelling a URI differently.
//!
//! - `Sent`: byte for byte.
//! - `Normal`: scheme and authority in lower case, percent-encoding in upper-case digits and only
//!   where it is needed, dot segments resolved
//!   (<https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2>).
//! - `Folded`: besides, everything decoded (again and again), `\` and repeated slashes as one
//!   slash, tabs and line breaks dropped as browsers' parsers do, the host in its one spelling
//!   (`authority`), users, drivers of databases, default ports and `file://localhost` left out.
//! - `Flat`: as `Folded`, with `?` and `#` as characters of the path, the host of a `file:` ignored
//!   and no slash at the end, for servers that cut nothing off or look at the path alone.
//! - `Bare`: as `Folded`, without query, fragment, parameters of segments (`;…`) and the slash at the
//!   end, for servers that ignore these. A pattern that has any of them is about them, and stays whole.
//!
//! The last three are made of every way in which a reader may take the URI ([`authority::ways`]).
//!
//! `*` is the one wildcard of a pattern: it fits any run of bytes, `/` included. It passes through
//! every form, so that patterns are brought into the same forms as the URIs they meet.

use percent::{decode, decode_once, respell, triplet};

pub(super) mod authority;
mod database;
mod percent;

/// Longest URI that a policy judges, bytes; a longer one is treated as if it did not exist.
pub const MAX_URI: usize = 8 * 1024;
/// Longest URI or pattern that a policy names, bytes.
pub const MAX_URI_KEY: usize = 1024;
/// A spelling that URIs are brought into before they are compared; the module says what each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Sent,
    Normal,
    Folded,
    Flat,
    Bare,
}

const FORMS: [Form; 5] = [Form::Sent, Form::Normal, Form::Folded, Form::Flat, Form::Bare];

/// One reading of a URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) form: Form,
    pub(super) bytes: Vec<u8>,
}

/// Every reading of a URI, the one as sent first, and whether its host can be read at all; none where
/// the URI is longer than [`MAX_URI`] or has more than [`authority::MAX_WAYS`] hosts.
pub(super) fn readings(uri: &str) -> Option<(Vec<Reading>, bool)> {
    if uri.len() > MAX_URI {
        return None;
    }
    let of = |form, text: &[u8]| Reading { form, bytes: spell(form, text) };
    let mut all = vec![of(Form::Sent, uri.as_bytes()), of(Form::Normal, uri.as_bytes())];
    let ways = authority::ways(uri)?;
    for way in &ways {
        for form in [Form::Folded, Form::Flat, Form::Bare] {
            let reading = of(form, way);
            if !all.contains(&reading) {
                all.push(reading);
            }
        }
    }
    Some((all, ways.iter().all(|way| authority::is_readable(way))))
}

/// A URI, or a pattern over URIs, in every form.
#[derive(Debug, Clone)]
pub(super) struct UriPattern {
    forms: [Vec<u8>; 5],
    /// Whether it has a query, a fragment or parameters of a segment.
    has_tail: bool,
}

impl UriPattern {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would mend it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URI_KEY {
            return Err(format!("is a URI of more than {MAX_URI_KEY} bytes; shorten it with *"));
        }
        let bytes = text.as_bytes();
        let broken =
            bytes.iter().enumerate().any(|(i, b)| *b == b'%' && triplet(bytes, i).is_none());
        if broken {
            return Err(format!("{text:?} has a \"%\" without two hex digits; write \"%25\""));
        }
        let parts = Parts::of(bytes);
        let dots = |segment: &[u8]| matches!(decode_once(segment).as_slice(), b"." | b"..");
        if parts.path.split(|b| *b == b'/').any(dots) {
            return Err(format!("{text:?} has a \".\" or \"..\" segment; write it resolved"));
        }
        let after_star = parts.authority.iter().skip_while(|b| **b != b'*');
        if after_star.into_iter().any(u8::is_ascii_uppercase) {
            return Err(format!(
                "{text:?} has upper case behind a * in the place of the host, where case does not \
                 count; write lower case, or \"/\" before it if a path is meant"
            ));
        }
        let has_tail = !parts.tail.is_empty() || parts.path.contains(&b';');
        Ok(Self { forms: FORMS.map(|form| spell(form, bytes)), has_tail })
    }

    /// Whether it fits one of the readings of a URI, compared in the reading's own form.
    pub(super) fn fits(&self, readings: &[Reading], which: usize) -> bool {
        let reading = &readings[which];
        if reading.form == Form::Bare && self.has_tail {
            let whole = |r: &Reading| r.form == Form::Folded && self.fits_alone(r);
            return readings.iter().any(whole);
        }
        self.fits_alone(reading)
    }

    fn fits_alone(&self, reading: &Reading) -> bool {
        let index = FORMS.iter().position(|f| *f == reading.form).unwrap_or(0);
        wild(&self.forms[index], &reading.bytes)
    }

    /// Whether it certainly fits everything that `other` fits. It may miss a case, but never says
    /// yes wrongly.
    pub(super) fn covers(&self, other: &Self) -> bool {
        // A star can only be met by a star, whatever it stands for.
        self.has_tail == other.has_tail
            && self.forms.iter().zip(&other.forms).all(|(mine, theirs)| wild(mine, theirs))
    }
}

/// Whether the pattern fits all of the text: `*` any run, every other byte itself.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let mut pieces = pattern.split(|b| *b == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&[u8]> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces.into_iter().filter(|p| !p.is_empty()) {
        // The leftmost place leaves most for what follows.
        let Some(at) = rest.windows(piece.len()).position(|w| w == piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

fn spell(form: Form, text: &[u8]) -> Vec<u8> {
    match form {
        Form::Sent => text.to_vec(),
        Form::Normal => normal(text),
        Form::Folded | Form::Flat | Form::Bare => folded(text, form),
    }
}

/// The parts of a URI as the generic syntax splits it: no part knows what another holds.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-3>
struct Parts<'a> {
    /// With its colon; empty where there is none.
    scheme: &'a [u8],
    /// Whether `//` stands before the authority.
    slashes: bool,
    authority: &'a [u8],
    path: &'a [u8],
    /// Query and fragment with their signs.
    tail: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Self {
        let in_scheme = |b: &u8| b.is_ascii_alphanumeric() || b"+-.*".contains(b);
        let colon =
            text.iter().position(|b| !in_scheme(b)).filter(|at| *at > 0 && text[*at] == b':');
        let (scheme, rest) = text.split_at(colon.map_or(0, |at| at + 1));
        let (slashes, rest) = rest.strip_prefix(b"//").map_or((false, rest), |rest| (true, rest));
        let ends = |signs: &[u8], from: &[u8]| {
            from.iter().position(|b| signs.contains(b)).unwrap_or(from.len())
        };
        let (authority, rest) = rest.split_at(if slashes { ends(b"/?#", rest) } else { 0 });
        let (path, tail) = rest.split_at(ends(b"?#", rest));
        Self { scheme, slashes, authority, path, tail }
    }
}

/// The normal form. It is repeated until nothing changes, since decoding can bring up a scheme or a
/// dot segment that has a normal form in turn.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2>
fn normal(text: &[u8]) -> Vec<u8> {
    let mut before = normal_once(text);
    loop {
        let after = normal_once(&before);
        if after == before || after.len() > before.len() {
            return after;
        }
        before = after;
    }
}

fn normal_once(text: &[u8]) -> Vec<u8> {
    let parts = Parts::of(text);
    let mut out = parts.scheme.to_ascii_lowercase();
    if parts.slashes {
        out.extend_from_slice(b"//");
    }
    // Decoded first: an encoded letter has a case, too. Digits of what stays encoded come after.
    out.extend(respell(&respell(parts.authority).to_ascii_lowercase()));
    out.extend(resolve(&respell(parts.path)));
    out.extend(respell(parts.tail));
    out
}

fn folded(text: &[u8], form: Form) -> Vec<u8> {
    let (flat, bare) = (form == Form::Flat, form == Form::Bare);
    let trimmed = text.trim_ascii();
    let kept: Vec<u8> =
        trimmed.iter().copied().filter(|b| !matches!(b, b'\t' | b'\n' | b'\r' | 0)).collect();
    // Servers take either slash for the other, the first ones after the scheme among them.
    let slashed: Vec<u8> = match kept.iter().position(|b| *b == b'?' || *b == b'#') {
        Some(at) if !flat => {
            let (head, tail) = kept.split_at(at);
            [&slashes(head)[..], tail].concat()
        }
        _ => slashes(&kept),
    };
    let parts = Parts::of(&slashed);
    let scheme = authority::scheme(parts.scheme);
    let mut authority = authority::canonical(&scheme, &decode(parts.authority));
    if scheme == b"file:" && (flat || authority == b"localhost") {
        authority.clear();
    }
    let (path, tail) = if flat {
        (decode(&[parts.path, parts.tail].concat()), Vec::new())
    } else {
        (decode(parts.path), if bare { Vec::new() } else { decode(parts.tail) })
    };
    let path = slashes(&path);
    let path = if bare { without_parameters(&path) } else { path };
    let mut path = resolve(&one_slash(&path));
    if (flat || bare) && path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    // `file:/a` and `file:///a` are the same file.
    let slashes = parts.slashes || (scheme == b"file:" && path.starts_with(b"/"));
    let whole_host = slashes && !authority.is_empty() && !authority.contains(&b'*');
    if whole_host && path.is_empty() {
        path.push(b'/');
    }
    if whole_host && path == b"/" && database::is_numbered(&scheme) {
        path.push(b'0');
    }
    let mut out = scheme;
    if slashes {
        out.extend_from_slice(b"//");
    }
    out.extend(authority);
    out.extend(path);
    out.extend(tail);
    out
}

/// Each segment up to its first `;`.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-3.3>
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let bare = |segment: &[u8]| segment.split(|b| *b == b';').next().map(<[u8]>::to_vec);
    let segments: Vec<Vec<u8>> = path.split(|b| *b == b'/').filter_map(bare).collect();
    segments.join(&b'/')
}

fn slashes(text: &[u8]) -> Vec<u8> {
    text.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect()
}

fn one_slash(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

/// Resolves dot segments; a path that ends in one keeps its last slash.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4>
fn resolve(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in path[usize::from(rooted)..].split(|b| *b == b'/') {
        open = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut out: Vec<u8> = if rooted { b"/".to_vec() } else { Vec::new() };
    out.extend(kept.join(&b'/'));
    if open && !kept.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, uri: &str) -> bool {
        let pattern = UriPattern::read(pattern).unwrap();
        let (all, _) = readings(uri).unwrap();
        (0..all.len()).any(|which| pattern.fits(&all, which))
    }

    #[test]
    fn a_star_fits_any_run_and_everything_else_itself() {
        assert!(fits("file:///secret/*", "file:///secret/a/b"));
        assert!(fits("db://**", "db://prod/t?x#y"));
        assert!(fits("db://**", "db://prod"));
        assert!(fits("*", "a:b"));
        assert!(fits("a://h/x?q=*&r=1", "a://h/x?q=2&r=1"));
        assert!(fits("a://h/{id}[0]", "a://h/{id}[0]"));
        assert!(fits("a:*b*b", "a:xbb"));
        assert!(!fits("a:*b*b", "a:xb"));
        assert!(!fits("a://h/x?q=*", "a://h/xyq=2"));
        assert!(!fits("file:///secret/*", "file:///secret"));
        assert!(!fits("file:///Secret/*", "file:///secret/a"));
    }

    /// Spellings of one file that servers are known to take for it.
    #[test]
    fn a_corpus_of_spellings_fits_what_the_plain_one_fits() {
        for uri in [
            "file:///secret/a",
            "FILE:///secret/a",
            "file:/secret/a",
            "file://localhost/secret/a",
            "file://LOCALHOST/secret/a",
            "file:////secret//a",
            "file:///%73ecret/a",
            "%46ile:///secret/a",
            "file:///%73%65%63%72%65%74/a",
            "file:///secret%2Fa",
            "file:///secret%2fa",
            "file:///secret%252Fa",
            "file:///%2573ecret/a",
            "file:///pub/../secret/a",
            "file:///pub/%2e%2E/secret/a",
            "file:///pub/.%2e/secret/a",
            "file:///pub%2F..%2Fsecret/a",
            "file:///pub/%252e%252e/secret/a",
            "file:///./secret/./a",
            "file:///secret/./a",
            "file:///secret/b/../a",
            "file:///../../secret/a",
            "file:///pub?/../../secret/a",
            "file:///pub%3F/../secret/a",
            "file:///pub#/../../secret/a",
            "file:\\\\\\secret\\a",
            "file:///secret\\a",
            "file:///pub\\..\\secret\\a",
            "file:///secret%5Ca",
            " file:///secret/a",
            "file:///se\ncret/a",
            "file:///se\tcret/a",
            "file:///pub/..//secret/a",
            "file://host/secret/a",
        ] {
            assert!(fits("file:///secret/*", uri), "{uri:?}");
        }
        for uri in [
            "http://host/x",
            "HTTP://HOST/x",
            "http://host:80/x",
            "http:\\\\host\\x",
            "http://%68ost/x",
            "http://host/%78",
            "http://host/a/../x",
        ] {
            assert!(fits("http://host/x", uri), "{uri:?}");
        }
        assert!(fits("http://127.0.0.1/*", "http://0x7f.1/x"), "as parsers read odd addresses");
        assert!(fits("test://static-text", "test://Static-Text"));
        assert!(fits("a://h/caf\u{e9}", "a://h/caf%C3%A9"));
    }

    #[test]
    fn what_servers_ignore_at_the_end_is_ignored_where_the_pattern_does_not_name_it() {
        for uri in [
            "file:///secret/a?x",
            "file:///secret/a#x",
            "file:///secret/a/",
            "file:///secret/a/.",
            "file:///secret/a/b/..",
            "file:///secret/a?/../b",
        ] {
            assert!(fits("file:///secret/a", uri), "{uri}");
        }
        assert!(fits("db://x?table=secret", "db://X?t%61ble=secret"));
        assert!(!fits("db://x?table=secret", "db://x?table=public"));
        assert!(!fits("file:///secret/a", "file:///secret/ab"));
    }

    #[test]
    fn other_resources_are_not_taken_for_it() {
        for uri in [
            "file:///secrets/a",
            "file:///pub/secret/a",
            "file:///secret/../pub/a",
            "other:///secret/a",
        ] {
            let normal = |r: &&Reading| r.form == Form::Normal;
            let pattern = UriPattern::read("file:///secret/*").unwrap();
            let (all, _) = readings(uri).unwrap();
            assert!(!all.iter().filter(normal).any(|r| pattern.fits_alone(r)), "{uri}");
        }
    }

    #[test]
    fn keys_that_could_be_read_in_two_ways_are_refused() {
        for text in ["file:///%2*", "file:///%", "a://h/../b", "a://h/%2e%2E/*", "a://*.Host/x"] {
            assert!(UriPattern::read(text).is_err(), "{text}");
        }
        assert!(UriPattern::read("a://h/*/Case").is_ok());
        assert!(UriPattern::read("a://HOST/*").is_ok());
    }

    #[test]
    fn uris_and_keys_are_bounded_at_the_named_limits() {
        let long = |n: usize| format!("a:{}", "b".repeat(n - 2));

        assert!(readings(&long(MAX_URI)).is_some());
        assert!(readings(&long(MAX_URI + 1)).is_none());
        assert!(UriPattern::read(&long(MAX_URI_KEY)).is_ok());
        assert!(UriPattern::read(&long(MAX_URI_KEY + 1)).is_err());
    }
}
