//! Tests of the reading as a whole, and small configurations for tests elsewhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::load::{DEFAULTS, read};
use super::reader::Reader;
use super::*;
use crate::domain::approval::Unattended;
use crate::domain::client_feature::ClientFeature;
use crate::domain::duration::parse_duration;
use crate::domain::policy::{Action, ApprovalTerms, Rule};

/// The configuration that this text gives.
pub(crate) fn config(text: &str) -> Config {
    crate::fixtures::config_of(text, None, &Environment::new())
}

/// A gated rule without terms of its own.
pub(crate) fn rule(pointer: &str) -> Rule {
    Rule {
        pointer: pointer.to_owned(),
        action: Action::RequireApproval,
        reason: None,
        rate_limit: None,
        name: None,
        checks: Vec::new(),
        limits: Vec::new(),
        approvals: Vec::new(),
        within: None,
        sensitive: false,
        redact: Vec::new(),
        masked_ok: false,
        risk: None,
        severity: None,
        approval: ApprovalTerms { unattended: Unattended::default(), ..ApprovalTerms::default() },
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn problems_with(text: &str, env: &[(&str, &str)]) -> Vec<Problem> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    match Config::read(text, Some(Path::new("placet.toml")), &env) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

/// The errors of a text: keys and messages.
pub(crate) fn errors(text: &str) -> Vec<(String, String)> {
    problems_with(text, &[])
        .into_iter()
        .filter(|p| p.severity == Severity::Error)
        .map(|p| (p.key, p.message))
        .collect()
}

/// Its warnings.
pub(crate) fn warnings(text: &str) -> Vec<(String, String)> {
    let all = problems_with(text, &[]).into_iter();
    let warning = |p: &Problem| p.severity == Severity::Warning;
    all.filter(warning).map(|p| (p.key, p.message)).collect()
}

fn keys(text: &str) -> Vec<String> {
    errors(text).into_iter().map(|(key, _)| key).collect()
}

/// `config/default.toml` with its commented keys and entries switched on.
fn documented() -> String {
    let is_key = |line: &str| {
        line.starts_with("[[")
            || line.split_once(" = ").is_some_and(|(key, _)| {
                !key.is_empty()
                    && key
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            })
    };
    DEFAULTS
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_key(rest) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn the_embedded_defaults_are_a_configuration() {
    let (config, warnings) = Config::read("", None, &Environment::new()).unwrap();

    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8420");
    assert_eq!(config.link("/x"), "http://127.0.0.1:8420/x");
    assert_eq!(config.approvals.timeout, Duration::from_mins(15));
    assert_eq!(config.approvals.max_arguments, 256 * 1024);
    assert_eq!(config.approvals.max_new_per_agent.window, Duration::from_mins(10));
    assert_eq!(config.approvals.task_poll_interval, Duration::from_secs(5));
    assert_eq!(config.approvals.max_tasks_per_agent, 1000);
    assert!(config.masking.keys.iter().any(|k| k == "client_secret"));
    assert!(config.implicit_owner && config.agents[0].token_sha256.is_none());
    assert_eq!(
        (config.agents[0].name.as_str(), config.reviewers[0].name.as_str()),
        ("local", "owner")
    );
    assert_eq!(warnings.len(), 1, "{}", lines(&warnings));
    assert_eq!(warnings[0].key, "upstreams");
}

#[test]
fn every_key_the_reader_knows_stands_in_the_default_file_and_no_other() {
    let env = Environment::new();
    let reader = Reader::new("default.toml".into(), std::path::PathBuf::new(), &env);
    let table: toml::Table = documented().parse().unwrap();
    let mut written = BTreeSet::new();
    for (section, value) in &table {
        written.insert(section.clone());
        let (path, inner) = match value {
            toml::Value::Table(t) => (section.clone(), t),
            toml::Value::Array(a) => (format!("{section}[]"), a[0].as_table().unwrap()),
            _ => panic!("{section}"),
        };
        for (key, value) in inner {
            written.insert(format!("{path}.{key}"));
            if key == "max_new_per_agent" {
                written
                    .extend(value.as_table().unwrap().keys().map(|k| format!("{path}.{key}.{k}")));
            }
        }
    }

    read(&reader, None, &table);

    assert_eq!(reader.known(), written);
}

#[test]
fn what_the_default_file_says_of_entries_is_what_they_get() {
    let minimal = config(
        "[[upstreams]]\nname = \"a\"\nurl = \"http://a/\"\n\
         [[agents]]\nname = \"a\"\ntoken = \"aaaaaaaaaaaaaaaaaaaa\"\n\
         [[reviewers]]\nname = \"r\"\n\
         [[notifiers]]\nname = \"w\"\nkind = \"webhook\"\nurl = \"https://a/\"\n\
         secret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZg==\"\n",
    );
    let table: toml::Table = documented().parse().unwrap();
    let text = |list: &str, key: &str| table[list][0][key].to_string();

    let upstream = &minimal.upstreams[0];
    assert_eq!((text("upstreams", "era").as_str(), upstream.era), ("\"auto\"", Era::Auto));
    assert_eq!(
        (text("upstreams", "instances").as_str(), upstream.instances),
        ("\"agent\"", Instances::Agent)
    );
    assert_eq!(
        (text("upstreams", "timeout").as_str(), upstream.timeout),
        ("\"10m\"", Duration::from_mins(10))
    );
    for (key, has) in [
        ("handshake_timeout", upstream.handshake_timeout),
        ("instance_linger", upstream.instance_linger),
        ("retry_pause", upstream.retry_pause),
        ("max_retry_pause", upstream.max_retry_pause),
    ] {
        let said = text("upstreams", key);
        assert_eq!(parse_duration(said.trim_matches('"')).unwrap(), has, "{key}");
    }
    assert_eq!(text("upstreams", "max_child_starts"), upstream.max_child_starts.to_string());
    assert_eq!(text("upstreams", "trust_annotations"), upstream.trust_annotations.to_string());
    assert_eq!(text("agents", "on_disconnect"), "\"keep\"");
    assert!(!minimal.agents[0].withdraw_on_disconnect);
    assert_eq!(text("reviewers", "role"), "\"reviewer\"");
    assert_eq!(minimal.reviewers[0].role, Role::Reviewer);
    assert!(!minimal.notifiers[0].include_arguments);
}

#[test]
fn limits_of_an_upstream_and_shares_have_to_fit_together() {
    let upstream = "[[upstreams]]\nname = \"a\"\nurl = \"http://a/\"\n";
    let told = errors(&format!("{upstream}retry_pause = \"40s\"\nhandshake_timeout = \"0s\"\n"));
    let keys: Vec<&str> = told.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["upstreams[0].handshake_timeout", "upstreams[0].max_retry_pause"]);
    assert!(told[1].1.contains("retry_pause"), "{told:?}");
    let told = errors(&format!("{upstream}max_child_starts = 5\n"));
    assert!(told[0].1.contains("only goes with command"), "{told:?}");

    let lines = "[server]\nmax_under_way = \"1MiB\"\nmax_reading = \"1MiB\"\n";
    let told = problems_with(lines, &[]);
    for key in ["server.max_under_way", "server.max_reading"] {
        assert!(told.iter().any(|p| p.key == key && p.message.contains("_per_agent")), "{told:?}");
    }
}

#[test]
fn every_problem_is_told_at_once_with_key_value_and_mend() {
    let text = r#"
        [server]
        listn = "127.0.0.1:1"
        max_body = "4MB"
        [approvals]
        timeout = "15 minutes"
        max_pending = 0
        max_new_per_agent = { max = 5, widow = 1 }
        [audit]
        calls = "stric"
        [[upstreams]]
        name = "Images"
        url = "ftp://x/"
        envv = 1
    "#;

    let problems = problems_with(text, &[]);

    let told = lines(&problems);
    for line in [
        "placet.toml: server.listn: unknown key; did you mean listen?",
        "placet.toml: server.max_body = \"4MB\": expected a size",
        "placet.toml: approvals.timeout = \"15 minutes\": expected a whole number and a unit",
        "placet.toml: approvals.max_pending = 0: expected a whole number from 1",
        "placet.toml: approvals.max_new_per_agent.widow: unknown key; did you mean window?",
        "placet.toml: audit.calls = \"stric\": expected one of group, strict, off; did you mean strict?",
        "placet.toml: upstreams[0].name = \"Images\": expected 1 to 32 lower-case",
        "placet.toml: upstreams[0].url: expected an http:// or https:// address",
        "placet.toml: upstreams[0].envv: unknown key; did you mean env?",
    ] {
        assert!(told.contains(line), "{line}\nnot in\n{told}");
    }
    assert_eq!(problems.iter().filter(|p| p.severity == Severity::Error).count(), 9, "{told}");
}

#[test]
fn duplicate_names_tokens_and_addresses_are_errors() {
    let text = r#"
        [[agents]]
        name = "a"
        token = "aaaaaaaaaaaaaaaaaaaa"
        [[agents]]
        name = "a"
        token_sha256 = "42492da06234ad0ac76f5d5debdb6d1ae027cffbe746a1c13b89bb8bc0139137"
        [[reviewers]]
        name = "r"
        email = "R@example.org"
        token = "aaaaaaaaaaaaaaaaaaaa"
        [[reviewers]]
        name = "s"
        email = "r@example.org"
        [[notifiers]]
        name = "m"
        kind = "emial"
        [[notifiers]]
        name = "m"
        kind = "slack"
    "#;

    let told = errors(text);

    let keys: Vec<&str> = told.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "agents[1].name",
            "agents[1].token",
            "notifiers[0].kind",
            "notifiers[1].kind",
            "notifiers[1].name",
            "reviewers[0].token",
            "reviewers[1].email"
        ]
    );
    assert!(told[2].1.contains("did you mean email?"), "{told:?}");
    assert!(told[3].1.contains("not available in this version"), "{told:?}");
}

#[test]
fn the_environment_sets_scalar_keys_and_nothing_else() {
    let env = [
        ("PLACET__SERVER__LISTEN", "127.0.0.1:0"),
        ("PLACET__APPROVALS__MAX_PENDING", "7"),
        ("PLACET__APPROVALS__MAX_NEW_PER_AGENT__MAX", "3"),
        ("PLACET__TELEMETRY__PUBLIC_METRICS", "true"),
        ("PLACET__APPROVALS__REMINDER", "1m"),
        ("PLACET_LOG", "debug"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()));

    let (config, _) =
        Config::read("[server]\nlisten = \"127.0.0.1:9\"", None, &Environment::from(env)).unwrap();

    assert_eq!(config.server.listen.port(), 0);
    assert_eq!((config.approvals.max_pending, config.approvals.max_new_per_agent.max), (7, 3));
    assert!(config.telemetry.public_metrics);
    assert_eq!(config.approvals.reminder, Some(Duration::from_mins(1)));
    let told = lines(&problems_with(
        "",
        &[
            ("PLACET__SERVER__LISTN", "x"),
            ("PLACET__SERVER__ALLOWED_HOSTS", "x"),
            ("PLACET__SERVER__MAX_BODY", "much"),
        ],
    ));
    assert!(
        told.contains(
            "PLACET__SERVER__LISTN: sets no known key; did you mean PLACET__SERVER__LISTEN?"
        ),
        "{told}"
    );
    assert!(told.contains("PLACET__SERVER__ALLOWED_HOSTS: only scalar keys"), "{told}");
    assert!(
        told.contains("environment (PLACET__SERVER__MAX_BODY): server.max_body = \"much\""),
        "{told}"
    );
}

#[test]
fn variables_are_replaced_in_strings_and_unset_ones_are_errors() {
    let text = "[[upstreams]]\nname = \"a\"\nurl = \"http://${HOST}/mcp\"\n\
                headers = { Authorization = \"Bearer ${KEY}\" }\n";
    let env = [("HOST", "h"), ("KEY", "k")].map(|(k, v)| (k.to_owned(), v.to_owned()));

    let (config, _) = Config::read(text, None, &Environment::from(env)).unwrap();

    let Transport::Http { url, headers, .. } = &config.upstreams[0].transport else { panic!() };
    assert_eq!(url.as_str(), "http://h/mcp");
    assert_eq!(headers[0].1.expose(), "Bearer k");
    assert_eq!(keys(text), ["upstreams[0].headers.Authorization", "upstreams[0].url"]);
}

#[test]
fn the_transport_of_an_http_upstream_is_found_out_unless_it_is_set() {
    let upstream =
        |more: &str| format!("[[upstreams]]\nname = \"a\"\nurl = \"http://h/sse\"\n{more}\n");
    let kind = |more: &str| {
        let (config, _) = Config::read(&upstream(more), None, &Environment::new()).unwrap();
        let Transport::Http { kind, .. } = config.upstreams[0].transport else { panic!() };
        kind
    };

    assert_eq!(kind(""), HttpKind::Auto);
    assert_eq!(kind("transport = \"auto\""), HttpKind::Auto);
    assert_eq!(kind("transport = \"streamable\""), HttpKind::Streamable);
    assert_eq!(kind("transport = \"sse\"\nera = \"legacy\""), HttpKind::Sse);
    assert_eq!(keys(&upstream("transport = \"http\"")), ["upstreams[0].transport"]);
    assert_eq!(
        keys(&upstream("transport = \"sse\"\nera = \"modern\"")),
        ["upstreams[0].transport"]
    );
    let command = "[[upstreams]]\nname = \"a\"\ncommand = [\"x\"]\ntransport = \"sse\"\n";
    assert_eq!(keys(command), ["upstreams[0].transport"]);
}

#[test]
fn secrets_come_from_exactly_one_place_and_are_never_shown() {
    let dir = std::env::temp_dir().join(format!("placet-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("token"), "from-a-file-0123456789\n").unwrap();
    let file = dir.join("placet.toml");
    let agent = |key: &str| format!("[[agents]]\nname = \"a\"\n{key}\n");
    let env = Environment::from([("T".to_owned(), "from-a-file-0123456789".to_owned())]);
    let hash = |key: &str| {
        let (config, _) = Config::read(&agent(key), Some(&file), &env).unwrap();
        config.agents[0].token_sha256
    };

    let by_file = hash("token_file = \"token\"");

    assert_eq!(by_file, hash("token_env = \"T\""));
    assert_eq!(by_file, hash("token = \"from-a-file-0123456789\""));
    for (key, message) in [
        ("token_env = \"T\"\ntoken_file = \"token\"", "keep one of them"),
        ("token = \"hush-too-short\"", "at least 20 characters"),
        ("token = \"hush hush hush hush hush\"", "no space"),
        ("token = [\"hush\"]", "expected a string"),
        ("token_sha256 = \"hush\"", "64 hex digits"),
        ("token_env = \"NONE\"", "variable NONE is not set"),
        ("token_file = \"none\"", "can't be read"),
        ("", "is missing"),
        ("tokn = \"hush\"", "did you mean token?"),
        ("token = \"hush", "line 3"),
    ] {
        let told = lines(&Config::read(&agent(key), Some(&file), &env).unwrap_err());
        assert!(told.contains(message), "{key}: {told}");
        assert!(!told.contains("hush"), "{told}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn relative_paths_are_below_the_configuration_file() {
    let text = "[[upstreams]]\nname = \"a\"\ncommand = [\"./server\", \"./x\"]\ncwd = \"work\"\n";

    let (config, _) =
        Config::read(text, Some(Path::new("/etc/placet/placet.toml")), &Environment::new())
            .unwrap();

    assert_eq!(config.database.url.expose(), "sqlite:/etc/placet/placet.db");
    let Transport::Stdio { command, cwd, .. } = &config.upstreams[0].transport else { panic!() };
    assert_eq!(command[1], "./x");
    assert_eq!(Path::new(&command[0]), Path::new("/etc/placet/server"));
    assert_eq!(cwd.as_deref(), Some(Path::new("/etc/placet/work")));
}

#[test]
fn without_agents_and_reviewers_only_loopback_is_listened_on() {
    let told =
        errors("[server]\nlisten = \"0.0.0.0:8420\"\npublic_url = \"https://p.example.org\"");

    assert_eq!(told.len(), 2);
    assert_eq!(told[0].0, "agents");
    assert!(told[0].1.contains("add [[agents]]"));
    assert_eq!(told[1].0, "reviewers");
    assert!(keys("[server]\nlisten = \"[::1]:8420\"").is_empty());
}

#[test]
fn an_agents_user_is_sent_to_pages_unless_it_says_otherwise() {
    let text = "[[agents]]\nname = \"a\"\ntoken = \"aaaaaaaaaaaaaaaaaaaa\"\nurl_elicitation = false\n\
                [[agents]]\nname = \"b\"\ntoken = \"bbbbbbbbbbbbbbbbbbbb\"\n";

    let agents = config(text).agents;

    assert_eq!((agents[0].url_elicitation, agents[1].url_elicitation), (false, true));
    assert_eq!(keys(&text.replace("= false", "= \"no\"")), ["agents[0].url_elicitation"]);
}

#[test]
fn the_wait_tool_is_switched_on_by_agent() {
    let text = "[[agents]]\nname = \"a\"\ntoken = \"aaaaaaaaaaaaaaaaaaaa\"\nwait_tool = true\n\
                [[agents]]\nname = \"b\"\ntoken = \"bbbbbbbbbbbbbbbbbbbb\"\n";

    let agents = config(text).agents;

    assert_eq!((agents[0].wait_tool, agents[1].wait_tool), (true, false));
    assert_eq!(keys(&text.replace("= true", "= \"yes\"")), ["agents[0].wait_tool"]);
}

#[test]
fn what_is_not_built_yet_says_so() {
    let text = "[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"\n";

    let told = errors(text);

    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told.iter().all(|(_, m)| m.contains("not available in this version")), "{told:?}");
}

#[test]
fn servers_may_ask_what_upstream_and_agent_let_pass() {
    let text = "[[agents]]\nname = \"a\"\ntoken = \"aaaaaaaaaaaaaaaaaaaa\"\n\
                client_features = [\"roots\"]\n\
                [[upstreams]]\nname = \"a\"\nurl = \"http://a/\"\n\
                [[upstreams]]\nname = \"b\"\nurl = \"http://b/\"\nclient_features = [\"sampling\"]\n";

    let config = config(text);

    assert_eq!(config.agents[0].client_features, Some(vec![ClientFeature::Roots]));
    assert_eq!(config.upstreams[0].client_features, ClientFeature::DEFAULT);
    assert_eq!(config.upstreams[1].client_features, [ClientFeature::Sampling]);
    assert_eq!(keys(&text.replace("\"roots\"", "\"root\"")), ["agents[0].client_features[0]"]);
}

#[test]
fn hosts_origins_and_addresses_are_checked() {
    let text = r#"
        [server]
        public_url = "https://user@example.org"
        allowed_hosts = ["example.org:8420", "[::1]", "http://example.org", "a/b"]
        allowed_origins = ["https://App.example.org:443", "https://example.org/x"]
        trusted_proxies = ["10.0.0.1", "10.0.0.0.1"]
        [[agents]]
        name = "a"
        token = "aaaaaaaaaaaaaaaaaaaa"
        [[reviewers]]
        name = "ana"
    "#;

    assert_eq!(
        keys(text),
        [
            "server.allowed_hosts[2]",
            "server.allowed_hosts[3]",
            "server.allowed_origins[1]",
            "server.public_url",
            "server.trusted_proxies[1]"
        ]
    );
    assert_eq!(
        config("[server]\nallowed_origins = [\"https://App.example.org:443\"]")
            .server
            .allowed_origins,
        ["https://app.example.org"]
    );
}

#[test]
fn owners_and_upstreams_of_agents_must_exist() {
    let text = "[[agents]]\nname = \"a\"\ntoken = \"aaaaaaaaaaaaaaaaaaaa\"\nowner = \"anna\"\n\
                upstreams = [\"images\"]\n[[reviewers]]\nname = \"ana\"\n\
                [[upstreams]]\nname = \"image\"\nurl = \"http://a/\"\n";

    let told = errors(text);

    assert_eq!(told[0].0, "agents[0].owner");
    assert!(told[0].1.contains("did you mean ana?"));
    assert_eq!(told[1].0, "agents[0].upstreams[0]");
    assert!(told[1].1.contains("did you mean image?"));
}

#[test]
fn rules_that_ask_for_a_passkey_need_an_address_that_has_them() {
    let asks = |url: &str, default: &str, rule: &str| {
        errors(&format!(
            "[server]\npublic_url = \"{url}\"\n[approvals]\nassurance = \"{default}\"\n\
             [[agents]]\nname = \"a\"\ntoken = \"aaaaaaaaaaaaaaaaaaaa\"\n\
             [[reviewers]]\nname = \"ana\"\ntoken = \"rrrrrrrrrrrrrrrrrrrr\"\n\
             [[upstreams]]\nname = \"u\"\nurl = \"http://a/\"\n\
             [upstreams.policy]\nversion = \"1\"\n[upstreams.policy.tools.t]\n\
             action = \"require_approval\"\n{rule}"
        ))
    };
    let passkey = "approval = { assurance = \"passkey\" }\n";

    for (default, rule) in [("link", passkey), ("passkey", "")] {
        let told = asks("http://127.0.0.1:8420", default, rule);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains("asks for a passkey") && told[0].1.contains("http://localhost"));
        for url in ["https://placet.example.org", "http://localhost:8420"] {
            assert!(asks(url, default, rule).is_empty(), "{url}");
        }
    }
    assert!(asks("http://127.0.0.1:8420", "session", "").is_empty());
}

#[test]
fn an_upstream_is_an_address_or_a_command() {
    assert_eq!(keys("[[upstreams]]\nname = \"a\"\n"), ["upstreams[0].url"]);
    assert_eq!(keys("[upstreams]\nname = \"a\"\n"), ["upstreams"]);
    assert_eq!(
        keys(
            "[[upstreams]]\nname = \"a\"\nurl = \"http://a/\"\ncwd = \".\"\nheaders = { Cookie = \"a\" }\n"
        ),
        ["upstreams[0].cwd", "upstreams[0].headers.Cookie"]
    );
    assert_eq!(keys("[[upstreams]]\nname = \"a\"\ncommand = []\n"), ["upstreams[0].command"]);
    assert_eq!(
        keys("[[upstreams]]\nname = \"a\"\nurl = \"http://a/\"\npolicy = \"none.json\"\n"),
        ["upstreams[0].policy"]
    );
}

#[test]
fn every_syntax_error_is_told_with_its_place() {
    let told = lines(&problems_with("a = hush\n[server]\nb = \"\\q\"\nc = 1\nc = 2\n", &[]));

    for place in ["line 1, column 5", "line 3, column 7", "line 5, column 1"] {
        assert!(told.contains(place), "{told}");
    }
    assert!(!told.contains("hush"), "{told}");
}
