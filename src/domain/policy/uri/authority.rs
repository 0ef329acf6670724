//! Which host a URI means. Readers differ in where they find it, and a host has many spellings; so a
//! URI is rewritten in every way that some reader takes it, and each host into one spelling.
//!
//! What is looked for: user names and passwords before the last, or another, `@`; `?`, `#` and `\\` that
//! end the authority for one reader and not for the next; percent-encoded delimiters; several hosts,
//! and hosts in the query, as drivers of databases take them; addresses in other bases and parts
//! (<https://url.spec.whatwg.org/#concept-ipv4-parser>), IPv4 in IPv6, final dots, international names
//! by the rules of 2008 and of 2003, ports with zeros and without digits.

use std::borrow::Cow;

use url::{Host, Url};

use super::percent::decode;
use super::{Parts, database};

/// Most ways in which a URI is looked at; one that has more is treated as if it did not exist.
pub(in crate::domain::policy) const MAX_WAYS: usize = 32;

/// Schemes whose authority is a host of the network, each with the port that goes without saying.
const NETWORK: [(&[u8], u16); 24] = [
    (b"http:", 80),
    (b"https:", 443),
    (b"ws:", 80),
    (b"wss:", 443),
    (b"ftp:", 21),
    (b"ftps:", 990),
    (b"sftp:", 22),
    (b"ssh:", 22),
    (b"git:", 9418),
    (b"smb:", 445),
    (b"nfs:", 2049),
    (b"ldap:", 389),
    (b"ldaps:", 636),
    (b"smtp:", 25),
    (b"imap:", 143),
    (b"imaps:", 993),
    (b"postgres:", 5432),
    (b"mysql:", 3306),
    (b"sqlserver:", 1433),
    (b"redis:", 6379),
    (b"mongodb:", 27017),
    (b"amqp:", 5672),
    (b"amqps:", 5671),
    (b"mqtt:", 1883),
];

/// The scheme (with its colon) in lower case, under one name where it has several.
pub(super) fn scheme(scheme: &[u8]) -> Vec<u8> {
    let lower = scheme.to_ascii_lowercase();
    database::scheme(&lower).map_or(lower, <[u8]>::to_vec)
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    NETWORK.into_iter().find(|(name, _)| *name == scheme).map(|(_, port)| port)
}

/// An authority without its user, decoded already, in two parts.
struct Split<'a> {
    host: &'a [u8],
    /// What follows the colon.
    port: Option<&'a [u8]>,
}

impl<'a> Split<'a> {
    fn of(authority: &'a [u8]) -> Self {
        let at = authority.iter().rposition(|b| *b == b'@').map_or(0, |at| at + 1);
        let rest = &authority[at..];
        let from = match rest.iter().position(|b| *b == b']') {
            Some(end) if rest.starts_with(b"[") => end,
            _ => 0,
        };
        let colon = rest[from..].iter().position(|b| *b == b':').map(|at| at + from);
        match colon {
            Some(colon) => Self { host: &rest[..colon], port: Some(&rest[colon + 1..]) },
            None => Self { host: rest, port: None },
        }
    }

    /// The port without zeros before it; none where there is none, or one that goes without saying.
    fn shown_port(&self, scheme: &[u8]) -> Option<Cow<'a, [u8]>> {
        let port = self.port.filter(|port| !port.is_empty())?;
        let Some(number) = number(port) else { return Some(Cow::Borrowed(port)) };
        (default_port(scheme).map(u64::from) != Some(number))
            .then(|| Cow::Owned(number.to_string().into_bytes()))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// The authority (decoded) in its one spelling: host and port, without a user. A pattern's `*` stays.
pub(super) fn canonical(scheme: &[u8], authority: &[u8]) -> Vec<u8> {
    let split = Split::of(authority);
    let mut out = host(scheme, split.host);
    if let Some(port) = split.shown_port(scheme) {
        out.push(b':');
        out.extend_from_slice(&port);
    }
    out
}

fn host(scheme: &[u8], written: &[u8]) -> Vec<u8> {
    let trimmed = without_dot(written);
    if trimmed.is_empty() || trimmed.contains(&b'*') {
        return trimmed.to_ascii_lowercase();
    }
    match parsed(scheme, trimmed) {
        Some(Host::Domain(name)) => without_dot(name.as_bytes()).to_ascii_lowercase(),
        Some(Host::Ipv4(address)) => address.to_string().into_bytes(),
        Some(Host::Ipv6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string().into_bytes(),
            None => format!("[{address}]").into_bytes(),
        },
        None => trimmed.to_ascii_lowercase(),
    }
}

fn without_dot(host: &[u8]) -> &[u8] {
    let end = host.iter().rposition(|b| *b != b'.').map_or(0, |at| at + 1);
    if end == 0 { host } else { &host[..end] }
}

fn parsed(scheme: &[u8], host: &[u8]) -> Option<Host> {
    let text = std::str::from_utf8(host).ok()?;
    // The name of a table or a note may well be a number; nobody takes it for an address.
    let is_address =
        text.contains(['.', 'x', 'X', '[']) || number(host).is_some_and(|n| n >> 24 > 0);
    if default_port(scheme).is_none() && number(host).is_some() && !is_address {
        return None;
    }
    // A zone is of the reader's own machine.
    let text = match text.split_once('%') {
        Some((address, _)) if text.starts_with('[') => Cow::Owned(format!("{address}]")),
        _ => Cow::Borrowed(text),
    };
    Host::parse(&text).ok()
}

/// The URI as readers may take it: the text itself, and others that are written plainly. Tabs, line
/// breaks and what surrounds the text are left out. None where there are more than [`MAX_WAYS`].
pub(super) fn ways(uri: &str) -> Option<Vec<Vec<u8>>> {
    // Readers of several languages strip more than ASCII has.
    let trimmed = uri.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').as_bytes();
    let kept =
        trimmed.iter().copied().filter(|b| !matches!(b, b'\t' | b'\n' | b'\r' | 0)).collect();
    let mut all: Vec<Vec<u8>> = vec![kept];
    // What the parser of most servers makes of it: odd hosts and ports, characters it drops.
    if let Ok(parsed) = Url::parse(uri)
        && parsed.as_str().as_bytes() != all[0]
    {
        all.push(parsed.as_str().as_bytes().to_vec());
    }
    let mut next = 0;
    while next < all.len() {
        for way in further(&all[next]) {
            if !all.contains(&way) {
                all.push(way);
            }
            if all.len() > MAX_WAYS {
                return None;
            }
        }
        next += 1;
    }
    Some(all)
}

/// Other ways to take this text, each written so that it is taken no other way for the same reason.
fn further(text: &[u8]) -> Vec<Vec<u8>> {
    let slashed = |b: &u8| matches!(b, b'/' | b'\\');
    let colon = text.iter().position(|b| *b == b':').filter(|at| *at > 0);
    let Some((name, rest)) = colon.map(|at| text.split_at(at + 1)) else { return Vec::new() };
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || b"+-.%".contains(b);
    if !name[..name.len() - 1].iter().all(in_name) || !rest.iter().take(2).all(slashed) {
        return Vec::new();
    }
    let name = scheme(&decode(name));
    let begin = rest.iter().position(|b| !slashed(b)).unwrap_or(rest.len());
    let rest = &rest[begin..];
    // As far as any reader's authority goes, and further than most.
    let (run, path) = rest.split_at(rest.iter().position(|b| *b == b'/').unwrap_or(rest.len()));
    let written = |authority: &[u8], path: &[u8]| [&name, &b"//"[..], authority, path].concat();
    let mut found = Vec::new();
    let decoded = decode(run);
    if decoded != run {
        found.push(written(&decoded, path));
    }
    let ends = |b: &u8| matches!(b, b'?' | b'#' | b'\\');
    let first = run.iter().position(|b| *b == b'@');
    let more = first.is_some_and(|at| run[at + 1..].contains(&b'@'));
    if more || (first.is_some() && run.iter().any(ends)) {
        let after = |(at, _): (usize, &u8)| written(&run[at + 1..], path);
        let signs = run.iter().enumerate().filter(|(_, b)| **b == b'@');
        // One more than is allowed is enough to refuse it.
        found.extend(signs.map(after).take(MAX_WAYS));
        return found;
    }
    let (authority, more) = run.split_at(run.iter().position(ends).unwrap_or(run.len()));
    let more = [more, path].concat();
    let split = Split::of(authority);
    if split.host.contains(&b',') || split.port.is_some_and(|port| port.contains(&b',')) {
        let at = authority.iter().rposition(|b| *b == b'@').map_or(0, |at| at + 1);
        let hosts = authority[at..].split(|b| *b == b',');
        found.extend(hosts.map(|host| written(host, &more)).take(MAX_WAYS));
        return found;
    }
    if database::is_one(&name) {
        // Without a host before them, what follows the slashes is the database.
        let (host, path) = match begin {
            0..=2 => (authority, more.clone()),
            _ => (&b""[..], [b"/", authority, &more].concat()),
        };
        let named = database::by_query(host, &path, MAX_WAYS);
        found.extend(named.into_iter().map(|(host, path)| written(&host, &path)));
    }
    let with = |host: &[u8], port: Option<&[u8]>| {
        let port = port.map(|port| [b":", port].concat()).unwrap_or_default();
        written(&[host, &port].concat(), &more)
    };
    for host in [by_older_rules(split.host), in_tens(split.host)].into_iter().flatten() {
        found.push(with(&host, split.port));
    }
    if let Some(port) = split.port.and_then(number).filter(|n| *n > u64::from(u16::MAX)) {
        // Sixteen bits of it are left to a careless reader.
        found.push(with(split.host, Some((port & 0xffff).to_string().as_bytes())));
    }
    found
}

/// An international name as the rules of 2003 map it, by which some letters become others
/// (<https://www.unicode.org/reports/tr46/#Deviations>).
fn by_older_rules(host: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(host).ok()?;
    let mapped: String = text
        .replace(['\u{df}', '\u{1e9e}'], "ss")
        .replace('\u{3c2}', "\u{3c3}")
        .replace(['\u{200c}', '\u{200d}'], "");
    (mapped != text).then(|| mapped.into_bytes())
}

/// An address whose parts begin with zeros, with all its parts in tens: octal to some readers, and not
/// to others.
fn in_tens(host: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(host).ok()?;
    let parts: Vec<&str> = text.split('.').collect();
    let odd = |part: &&str| part.len() > 1 && part.starts_with('0');
    let is_address = parts.len() == 4 && parts.iter().all(|p| number(p.as_bytes()).is_some());
    if !is_address || !parts.iter().any(odd) {
        return None;
    }
    let parts = parts.iter().filter_map(|p| Some(number(p.as_bytes())?.to_string()));
    Some(parts.collect::<Vec<_>>().join(".").into_bytes())
}

/// Whether the host of this text can be read where it must be one, that of a scheme of the network; and
/// whether it is clear which database that of one means.
pub(super) fn is_readable(text: &[u8]) -> bool {
    let slashed: Vec<u8> = text.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
    let parts = Parts::of(&slashed);
    let name = scheme(parts.scheme);
    if !parts.slashes || default_port(&name).is_none() {
        return true;
    }
    if database::is_one(&name) && !database::is_clear(&name, parts.path, parts.tail) {
        return false;
    }
    let authority = decode(parts.authority);
    let split = Split::of(&authority);
    let host = without_dot(split.host);
    let port = split.port.filter(|port| !port.is_empty());
    (host.is_empty() || parsed(&name, host).is_some())
        && port.is_none_or(|port| number(port).is_some_and(|n| u16::try_from(n).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(scheme: &str, written: &str) -> String {
        String::from_utf8(canonical(scheme.as_bytes(), written.as_bytes())).unwrap()
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (written, one) in [
            ("intra.example", "intra.example"),
            ("u:p@INTRA.example.:0443", "intra.example"),
            ("a@b@intra.example:", "intra.example"),
            ("intra.example:444", "intra.example:444"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("ｉntra。example", "intra.example"),
            ("in\u{ad}tra.example", "intra.example"),
            ("0x7f.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("[::ffff:127.0.0.1]:443", "127.0.0.1"),
            ("[0:0::FFFF:7f00:1]", "127.0.0.1"),
            ("[FE80::1%25eth0]:8", "[fe80::1]:8"),
            ("*.Example:443", "*.example"),
        ] {
            assert_eq!(authority("https:", written), one, "{written}");
        }
        assert_eq!(authority("postgres:", "u:p@prod:5432"), "prod");
        assert_eq!(authority("db:", "15"), "15");
        assert_eq!(authority("db:", "nginx:latest"), "nginx:latest");
    }

    #[test]
    fn every_host_that_some_reader_finds_is_looked_at() {
        for (uri, other) in [
            ("https://x#@intra.example/a", "https://intra.example/a"),
            ("https://x?@intra.example/a", "https://intra.example/a"),
            ("https://x\\@intra.example/a", "https://intra.example/a"),
            ("https://x@intra.example@y/a", "https://intra.example@y/a"),
            ("https://x%40intra.example/a", "https://x@intra.example/a"),
            ("https:intra.example/a", "https://intra.example/a"),
            ("https:///intra.example/a", "https://intra.example/a"),
            ("mongodb://u@x:1,intra.example/a", "mongodb://intra.example/a"),
            ("postgresql://x/a?host=prod&dbname=t", "postgres://prod/t"),
            ("http://010.0.0.01/", "http://10.0.0.1/"),
            ("https://stra\u{df}e.example/", "https://strasse.example/"),
            ("https://intra.example:65979/", "https://intra.example:443/"),
        ] {
            let all = ways(uri).unwrap();
            assert!(all.iter().any(|way| way == other.as_bytes()), "{uri}: {all:?}");
        }
        assert_eq!(ways("https://intra.example/a@b,c?d#e").map(|all| all.len()), Some(1));
        assert_eq!(ways("memo:a@b,c"), Some(vec![b"memo:a@b,c".to_vec()]));
    }

    #[test]
    fn a_uri_with_more_hosts_than_the_named_limit_is_not_looked_at() {
        let with = |n: usize| format!("https://{}h/", "u@".repeat(n));

        assert!(ways(&with(MAX_WAYS - 2)).is_some());
        assert!(ways(&with(MAX_WAYS + 1)).is_none());
        let hosts: Vec<String> = (0..1000).map(|n| format!("h{n}")).collect();
        assert!(ways(&format!("mongodb://{}/", hosts.join(","))).is_none());
    }

    #[test]
    fn a_host_that_cant_be_read_is_noticed_where_it_must_be_one() {
        for uri in
            ["https://a|b/", "https://a:b/", "https://h:65536/", "http://[::1/", "ssh://g@h:o/r"]
        {
            assert!(!is_readable(uri.as_bytes()), "{uri}");
        }
        for uri in
            ["https://h/", "https://h:/", "http://[::1]:8/", "docker://a:b/", "db://a|b/", "a:b"]
        {
            assert!(is_readable(uri.as_bytes()), "{uri}");
        }
    }
}
