//! Spellings of URIs that Rust's reader takes for a plain one; those of other languages are tried in
//! front of the whole program.

use proptest::prelude::*;
use proptest::sample::select;
use url::Url;

use super::*;

/// A plain URI, the rule that is about it, and spellings of its host.
const PLAIN: [(&str, &str, &[&str]); 5] = [
    (
        "https://intra.example/admin/users",
        "https://intra.example/admin*",
        &[
            "intra.example",
            "INTRA.Example",
            "intra.example.",
            "%69ntra.example",
            "ｉntra.example",
            "intra。example",
            "in\u{ad}tra.example",
            "intra%2Eexample",
        ],
    ),
    (
        "http://127.0.0.1/admin/users",
        "http://127.0.0.1/*",
        &[
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "0X7F000001",
            "１２７.0.0.1",
            "127.0.1",
        ],
    ),
    (
        "http://[::1]/admin/users",
        "http://[::1]/*",
        &["[::1]", "[0:0::1]", "[0000::0001]", "[0:0:0:0:0:0:0:1]", "[::0.0.0.1]"],
    ),
    (
        "https://bücher.example/admin/users",
        "https://xn--bcher-kva.example/*",
        &[
            "bücher.example",
            "BÜCHER.example",
            "xn--bcher-kva.example",
            "b%C3%BCcher.example",
            "bu\u{308}cher.example",
        ],
    ),
    ("postgres://prod/admin/users", "postgres://prod/*", &["prod", "%70rod"]),
];

/// Spellings of `://`, users, ports and the path.
const SCHEME_END: [&str; 7] = ["://", ":", ":/", ":///", ":\\\\", ":/\\", "://\t"];
const USERS: [&str; 8] = ["", "u@", "u:p@", ":@", "@", "a@b@", "x%40y@", "intra.other:80@"];
const PORTS: [&str; 6] = ["", ":", ":443", ":80", ":0080", ":000443"];
const PATHS: [&str; 13] = [
    "/admin/users",
    "//admin//users",
    "/./admin/users",
    "/x/../admin/users",
    "/x/%2e%2E/admin/users",
    "/%61dmin/users",
    "\\admin\\users",
    "/ad\tmin/users",
    "/admin/users#top",
    "/admin/./users?x=1",
    "/admin/x/../users",
    "/admin/users/",
    "/admin/users \n",
];

fn strictness(policy: &Policy, uri: &str) -> u8 {
    let params = format!("{{\"uri\":{}}}", json::quote(uri));
    let call = ToolCall::read_as(Method::ReadResource, "u", &params).unwrap();
    match policy.judge("bot", &call, None).unwrap() {
        Verdict::Hidden | Verdict::Ruled { action: Action::Deny, .. } => 3,
        Verdict::Ruled { action: Action::RequireApproval, .. } => 2,
        Verdict::Ruled { rule, .. } => u8::from(rule.rate_limit.is_some()),
        Verdict::Ungoverned => 0,
    }
}

fn policies(key: &str) -> Vec<Policy> {
    let key = json::quote(key);
    [
        format!(r#""hide":[{key}]"#),
        format!(r#""rules":{{{key}:{{"action":"deny"}}}}"#),
        format!(r#""rules":{{{key}:{{"action":"require_approval"}}}}"#),
        format!(r#""rules":{{{key}:{{"action":"allow","rate_limit":{{"max":1,"window":60}}}}}}"#),
    ]
    .iter()
    .map(|block| Policy::read(&format!(r#"{{"version":"1","resources":{{{block}}}}}"#)).unwrap().0)
    .collect()
}

/// Whether Rust's reader takes both for the same host and, but for empty segments, the same path.
fn same(plain: &Url, uri: &str) -> bool {
    let Ok(read) = Url::parse(uri) else { return false };
    let host = |url: &Url| {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        host.trim_end_matches('.').to_owned()
    };
    let path = |url: &Url| {
        let parts = url.path().split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>().join("/");
        parts.replace("%61", "a")
    };
    read.scheme() == plain.scheme()
        && (host(&read) == host(plain) || host(&read).contains('%'))
        && read.port_or_known_default() == plain.port_or_known_default()
        && path(&read) == path(plain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_spelling_that_rusts_reader_takes_for_a_uri_is_judged_more_mildly(
        which in 0..PLAIN.len(), host in any::<prop::sample::Index>(),
        end in select(SCHEME_END.to_vec()), user in select(USERS.to_vec()),
        port in select(PORTS.to_vec()), path in select(PATHS.to_vec()),
        upper in any::<bool>(), around in select(vec!["", " ", "\n"]),
    ) {
        let (plain, key, hosts) = PLAIN[which];
        let url = Url::parse(plain).unwrap();
        let scheme = plain.split(':').next().unwrap();
        let scheme = if upper { scheme.to_uppercase() } else { scheme.to_owned() };
        let host = hosts[host.index(hosts.len())];
        let uri = format!("{around}{scheme}{end}{user}{host}{port}{path}{around}");
        let policies = if same(&url, &uri) { policies(key) } else { Vec::new() };

        for policy in policies {
            let (is, must) = (strictness(&policy, &uri), strictness(&policy, plain));
            prop_assert!(must > 0 && is >= must, "{:?} by {}", uri, key);
        }
    }

    #[test]
    fn no_authority_makes_the_reading_panic(uri in "(https|db):[/\\\\]{1,3}[a@:.,%0-9\\[\\]x?#*;é/]{0,24}") {
        for policy in policies("https://a/*") {
            let _ = strictness(&policy, &uri);
        }
    }
}

#[test]
fn spellings_that_only_some_readers_take_for_it_are_judged_as_the_plain_one() {
    for (plain, key, others) in [
        (
            "https://intra.example/admin",
            "https://intra.example/admin*",
            &[
                "https://u@intra.example/admin",
                "https://u:p@intra.example./admin",
                "https://x#@intra.example/admin",
                "https://x?@intra.example/admin",
                "https://x\\@intra.example/admin",
                "https://x%40intra.example/admin",
                "https://intra.example\\@x/../admin",
                "https://intra.example%2fadmin",
                "https://intra.example%2Fadmin@x/y",
                "https:\\\\intra.example\\admin",
                "HTTPS:intra.example/admin",
                "https://intra.example:65979/admin",
                "https://intra.example/;x/admin",
                "https://intra.example/admin;x=1",
                "https://x,intra.example/admin",
                "\u{a0}https://intra.example/admin",
                "\u{feff}https://intra.example/admin",
            ][..],
        ),
        (
            "https://intra.example/admin",
            "https://intra.example/admin",
            &["https://intra.example/admin;x=1", "https://u@intra.example:443//admin/?q#f"],
        ),
        (
            "postgres://prod/t",
            "postgres://prod/*",
            &[
                "postgres://u:p@prod/t",
                "postgresql://prod:5432/t",
                "postgres://u@sandbox,prod/t",
                "postgres://sandbox/t?host=prod",
                "postgres:///t?host=prod&port=5432",
                "postgres://x/y?h%6Fst=prod&dbname=t",
                "postgres://PROD./t",
            ],
        ),
        (
            "postgres://prod/t",
            "postgres://prod/t*",
            &[
                "postgresql:///t?host=prod",
                "postgresql:///t?hostaddr=prod",
                "postgresql://prod?dbname=t",
                "postgresql://prod/?dbname=t",
                "postgresql://prod/x?dbname=t",
            ],
        ),
        (
            "redis://prod/0",
            "redis://prod/0",
            &[
                "redis://prod?db=0",
                "redis://prod/5?db=0",
                "redis://prod/5?db=0&db=5",
                "redis:///0?host=prod",
                "redis://?host=prod&host=x",
                "redis://prod",
                "rediss://u@prod:6379/",
                "redis://prod/00",
                "redis://prod/%200",
                "redis://prod/%D9%A0",
            ],
        ),
        (
            "mysql://prod/db",
            "mysql://prod/db*",
            &[
                "mysql://x/db?host=prod",
                "mysql://prod/x?database=db",
                "mysql+pymysql://prod/db",
                "MariaDB+mariadbconnector://x/y?DB=db&host=prod",
                "mysql://x/db?host=%22prod%22",
                "mysql://x:1/y?db=db;host=prod&port=3306",
                "mysql://x/db?unix_socket=/run/mysql",
            ],
        ),
        (
            "sqlserver://prod/db",
            "sqlserver://prod/db*",
            &[
                "mssql+pyodbc://x/db?Data+Source=prod",
                "sqlserver://prod:1433?Initial%20Catalog=db",
                "sqlserver://prod:1433;databaseName=db",
            ],
        ),
        (
            "mongodb://prod/db",
            "mongodb://prod/db*",
            &["mongodb+srv://u:p@prod/db?w=1", "mongodb://x:1,prod/db"],
        ),
        (
            "https://strasse.example/a",
            "https://strasse.example/*",
            &["https://stra\u{df}e.example/a"],
        ),
        (
            "http://10.0.0.1/a",
            "http://10.0.0.1/*",
            &["http://010.0.0.1/a", "http://[::ffff:10.0.0.1]/a", "http://012.0.0.1/a"],
        ),
        ("http://8.0.0.1/a", "http://8.0.0.1/*", &["http://010.0.0.1/a"]),
        (
            "file:///etc/x",
            "file:///etc/*",
            &["file://u@localhost./etc/x", "file://127.0.0.1/etc/x"],
        ),
        ("db://127.0.0.1/x", "db://127.0.0.1/*", &["db://2130706433/x", "db://[::ffff:7f00:1]/x"]),
    ] {
        for policy in policies(key) {
            let must = strictness(&policy, plain);
            for other in others {
                assert!(strictness(&policy, other) >= must, "{other:?} by {key} ({must})");
            }
        }
    }
}

#[test]
fn a_host_that_nobody_can_read_is_at_least_asked_about() {
    let open = Policy::read(r#"{"version":"1","resources":{}}"#).unwrap().0;
    let some = Policy::read(
        r#"{"version":"1","resources":{"rules":{"file:///etc/*":{"action":"deny"},"https://a|b/":{"action":"allow"}}}}"#,
    );
    let some = some.unwrap().0;

    for uri in ["https://in|tra/a", "https://h:x/a", "http://[::1/a", "https://h:99999999/a"] {
        assert_eq!((strictness(&open, uri), strictness(&some, uri)), (2, 3), "{uri}");
    }
    for uri in
        ["https://h/a", "docker://nginx:latest", "db://my table|1/a", "urn:a:b", "ui://x/{y}"]
    {
        assert_eq!((strictness(&open, uri), strictness(&some, uri)), (0, 0), "{uri}");
    }
    assert_eq!(strictness(&some, "https://a|b/"), 0, "as its author wrote it");
}

/// What is plain stays as its author allowed it.
#[test]
fn plain_uris_that_are_allowed_pass() {
    for (key, uri) in [
        ("https://ok.example/*", "https://ok.example/a/b?c=d@e,f#g"),
        ("https://*.example/*", "https://a.example/b"),
        ("postgres://ro:x@prod/*", "postgres://ro:x@prod/t"),
        ("db://1*", "db://15/x"),
        ("http://10.0.0.5:8080/*", "http://10.0.0.5:8080/x"),
        ("docker://*", "docker://nginx:latest"),
        ("memo:*", "memo:a@b"),
        ("https://ok.example/*", "https://ok.example/a;b=c"),
        ("redis://cache/*", "redis://cache/user:1"),
        ("redis://cache", "redis://cache"),
        ("rediss://cache:6380/*", "rediss://cache:6380/15?protocol=3"),
        ("mysql+pymysql://ro/*", "mysql+pymysql://ro/db?charset=utf8"),
        ("mariadb://ro/*", "mariadb://ro/db"),
        ("mongodb+srv://c.example/*", "mongodb+srv://c.example/db?retryWrites=true&w=majority"),
        ("sqlserver://ro/*", "sqlserver://ro/db?encrypt=true"),
    ] {
        let text = format!(
            r#"{{"version":"1","resources":{{"default":"deny","rules":{{{}:{{"action":"allow"}}}}}}}}"#,
            json::quote(key)
        );
        assert_eq!(strictness(&Policy::read(&text).unwrap().0, uri), 0, "{uri} by {key}");
    }
}
