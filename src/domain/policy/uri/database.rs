//! What readers of the URIs of databases take for the server and the database, beyond what stands in
//! their place: parameters, drivers in the scheme, numbers that are left out or spelled oddly.

use super::percent::decode;
use crate::domain::json;

/// Schemes whose readers take server and database from parameters, too: those of libpq
/// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>), and of the
/// drivers for Python, Node and Go.
const SCHEMES: [&[u8]; 5] = [b"postgres:", b"redis:", b"mysql:", b"mongodb:", b"sqlserver:"];

/// Names of parameters, as [`key`] spells them, that name the server …
const HOST_KEYS: [&str; 9] = [
    "hostaddr",
    "host",
    "hostname",
    "server",
    "servername",
    "datasource",
    "addr",
    "address",
    "networkaddress",
];
/// … and the database.
const NAME_KEYS: [&str; 6] =
    ["dbname", "database", "db", "databasename", "initialcatalog", "catalog"];
/// Parameters that name something in which the server is named.
const UNCLEAR_KEYS: [&str; 16] = [
    "service",
    "servicefile",
    "unixsocket",
    "unixsock",
    "socket",
    "sock",
    "socketpath",
    "readdefaultfile",
    "defaultfile",
    "optionfile",
    "odbcconnect",
    "dsn",
    "uri",
    "url",
    "failoverpartner",
    "sentinels",
];

/// A scheme (with its colon, in lower case) under the one name of the database, without the driver.
pub(super) fn scheme(lower: &[u8]) -> Option<&'static [u8]> {
    let end = lower.iter().position(|b| *b == b'+').unwrap_or(lower.len().saturating_sub(1));
    let name: &[u8] = match &lower[..end] {
        b"postgres" | b"postgresql" => b"postgres:",
        b"mysql" | b"mariadb" => b"mysql:",
        b"sqlserver" | b"mssql" => b"sqlserver:",
        b"mongodb" => b"mongodb:",
        // The same server at the same port, encrypted.
        b"redis" | b"rediss" => b"redis:",
        _ => return None,
    };
    Some(name)
}

/// Whether a scheme (as [`scheme`] gives it) is one of a database.
pub(super) fn is_one(scheme: &[u8]) -> bool {
    SCHEMES.contains(&scheme)
}

/// Whether the scheme is one whose database is a number, 0 where none is written.
pub(super) fn is_numbered(scheme: &[u8]) -> bool {
    scheme == b"redis:"
}

/// A parameter's name as the most careless reader compares it.
fn key(written: &str) -> String {
    written.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The parameters of a query, split at `&` and, since some do, at `;`.
fn parameters(query: &[u8]) -> Vec<(String, String)> {
    let query = query.split(|b| *b == b'#').next().unwrap_or_default();
    let both: Vec<u8> = query.iter().map(|b| if *b == b';' { b'&' } else { *b }).collect();
    let read = |text: &[u8]| -> Vec<(String, String)> {
        url::form_urlencoded::parse(text).map(|(k, v)| (key(&k), v.into_owned())).collect()
    };
    let mut all = read(query);
    all.extend(read(&both));
    // A driver for Node reads values as JSON where they are.
    let texts = all.iter().filter_map(|(key, value)| {
        Some((key.clone(), json::parse(value).ok()?.as_str()?.to_owned()))
    });
    let texts: Vec<_> = texts.collect();
    all.extend(texts);
    all
}

/// The servers (with their ports) and paths that the parameters name in place of those before them, as
/// far as they name any; of several values of one name some readers take the first, some the last.
/// At most `max`.
pub(super) fn by_query(authority: &[u8], rest: &[u8], max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(at) = rest.iter().position(|b| *b == b'?') else { return Vec::new() };
    let (path, parameters) = (&rest[..at], parameters(&rest[at + 1..]));
    let values = |keys: &[&str]| {
        let mut values: Vec<Vec<u8>> = Vec::new();
        for (_, value) in parameters.iter().filter(|(key, _)| keys.contains(&key.as_str())) {
            if !values.contains(&value.as_bytes().to_vec()) {
                values.push(value.as_bytes().to_vec());
            }
        }
        values
    };
    let (mut hosts, mut paths, ports) = (values(&HOST_KEYS), values(&NAME_KEYS), values(&["port"]));
    if hosts.is_empty() && paths.is_empty() && ports.is_empty() {
        return Vec::new();
    }
    let at = authority.iter().rposition(|b| *b == b'@').map_or(0, |at| at + 1);
    let (own_host, own_port) = split_port(&authority[at..]);
    if hosts.is_empty() {
        hosts.push(own_host.to_vec());
    }
    for path in &mut paths {
        path.insert(0, b'/');
    }
    if paths.is_empty() {
        paths.push(path.to_vec());
    }
    let mut all_ports: Vec<Vec<u8>> = ports.iter().map(|port| [b":", &port[..]].concat()).collect();
    if all_ports.is_empty() {
        all_ports.push(Vec::new());
        all_ports.extend((!own_port.is_empty()).then(|| own_port.to_vec()));
    }
    let mut found = Vec::new();
    for host in &hosts {
        for path in &paths {
            for port in &all_ports {
                if found.len() == max {
                    return found;
                }
                found.push(([&host[..], port].concat(), path.clone()));
            }
        }
    }
    found
}

/// A host and what follows it, from the colon on.
fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    let from = host.iter().rposition(|b| *b == b']').unwrap_or(0);
    let colon = host[from..].iter().position(|b| *b == b':').map_or(host.len(), |at| at + from);
    host.split_at(colon)
}

/// Whether it can be said which server and which database this path and query of a database's URI mean.
pub(super) fn is_clear(scheme: &[u8], path: &[u8], tail: &[u8]) -> bool {
    let query = tail.strip_prefix(b"?").unwrap_or_default();
    let unclear = |(key, _): &(String, String)| UNCLEAR_KEYS.contains(&key.as_str());
    !parameters(query).iter().any(unclear) && (!is_numbered(scheme) || has_one_number(path))
}

/// Whether the path has no number, or one that is spelled as all readers spell it: others drop slashes,
/// signs, zeros and white space, and take digits of other scripts and bases.
fn has_one_number(path: &[u8]) -> bool {
    let path = decode(path);
    let Ok(text) = std::str::from_utf8(&path) else { return false };
    let text = text.trim_matches('/');
    let may_be_one = text.contains(|c: char| c.is_numeric())
        && text
            .chars()
            .all(|c| !c.is_ascii() || c.is_ascii_hexdigit() || " \t\n\r+-._/xXoO".contains(c));
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    !may_be_one || is_plain || text == "0"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_has_one_scheme_whatever_its_driver_is_called() {
        for (written, one) in [
            ("postgresql:", "postgres:"),
            ("postgresql+psycopg2:", "postgres:"),
            ("mariadb+mariadbconnector:", "mysql:"),
            ("mysql+pymysql:", "mysql:"),
            ("mssql+pyodbc:", "sqlserver:"),
            ("mongodb+srv:", "mongodb:"),
            ("rediss:", "redis:"),
        ] {
            assert_eq!(scheme(written.as_bytes()), Some(one.as_bytes()), "{written}");
            assert!(is_one(one.as_bytes()));
        }
        for other in ["http:", "redisx:", "git+ssh:", ":", ""] {
            assert_eq!(scheme(other.as_bytes()), None, "{other}");
        }
    }

    fn named(authority: &str, rest: &str) -> Vec<String> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let found = by_query(authority.as_bytes(), rest.as_bytes(), 9);
        found.into_iter().map(|(host, path)| text(host) + &text(path)).collect()
    }

    #[test]
    fn every_value_of_every_name_for_server_and_database_is_looked_at() {
        assert_eq!(named("x", "/a?host=prod&dbname=t"), ["prod/t"]);
        assert_eq!(named("x", "/a?host=prod&host=y"), ["prod/a", "y/a"]);
        assert_eq!(named("x", "/a?Data%20Source=prod;Initial+Catalog=t&db=1").len(), 2 * 2);
        assert_eq!(named("u@x:7", "/a?HOST=prod"), ["prod/a", "prod:7/a"]);
        assert_eq!(named("u@x:7", "/a?port=5432"), ["x:5432/a"]);
        assert_eq!(named("x", r#"/a?host="prod""#), [r#""prod"/a"#, "prod/a"]);
        assert_eq!(named("[::1]:7", "?db=1#&db=2"), ["[::1]/1", "[::1]:7/1"]);
        assert!(named("x", "/a?sslmode=require&x=host").is_empty());
        assert!(named("x", "/a").is_empty());
        let many: Vec<String> = (0..99).map(|n| format!("host=h{n}")).collect();
        assert_eq!(named("x", &format!("/a?{}", many.join("&"))).len(), 9);
    }

    #[test]
    fn what_names_the_server_elsewhere_or_a_number_oddly_is_not_clear() {
        for (scheme, path, tail) in [
            ("postgres:", "/a", "?service=prod"),
            ("mysql:", "/a", "?x=1&unix_socket=/tmp/x"),
            ("sqlserver:", "/a", "?odbc_connect=Server%3Dprod"),
            ("redis:", "/00", ""),
            ("redis:", "/1/0", ""),
            ("redis:", "/-0", ""),
            ("redis:", "/%200", ""),
            ("redis:", "/%D9%A0", ""),
            ("redis:", "/0_0", ""),
            ("redis:", "/0x1", ""),
            ("redis:", "/1e0", ""),
            ("redis:", "/\u{ff11}", ""),
        ] {
            assert!(!is_clear(scheme.as_bytes(), path.as_bytes(), tail.as_bytes()), "{path}{tail}");
        }
        for (scheme, path, tail) in [
            ("postgres:", "/00", "?sslmode=require"),
            ("mongodb:", "/a", "?replicaSet=x&authSource=service"),
            ("redis:", "", ""),
            ("redis:", "/0", "?protocol=3"),
            ("redis:", "//15/", ""),
            ("redis:", "/user:1", ""),
            ("redis:", "/keys/x1", ""),
        ] {
            assert!(is_clear(scheme.as_bytes(), path.as_bytes(), tail.as_bytes()), "{path}{tail}");
        }
    }
}
