use super::*;
use crate::config::tests::{config, errors, warnings};

const PEOPLE: &str = r#"
    [[reviewers]]
    name = "ana"
    email = "ana@example.org"
    groups = ["oncall"]
    [[reviewers]]
    name = "ben"
    token = "bbbbbbbbbbbbbbbbbbbb"
    groups = ["oncall"]
"#;

const PROVIDER: &str = "issuer = \"https://login.example.org\"\nclient_id = \"placet\"\n";

fn with(lines: &str) -> String {
    format!("{PEOPLE}\n[oidc]\n{PROVIDER}{lines}")
}

fn keys(text: &str) -> Vec<String> {
    errors(text).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn it_is_off_while_it_names_no_issuer() {
    assert!(config("").oidc.is_none());
    assert!(config(PEOPLE).oidc.is_none());

    let told = errors(&format!("{PEOPLE}\n[oidc]\nclient_id = \"placet\"\nallow_unknown = true\n"));

    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "oidc.issuer");
    assert!(told[0].1.contains("client_id, allow_unknown"), "{}", told[0].1);
}

#[test]
fn an_issuer_and_a_client_id_are_enough_and_the_rest_has_defaults() {
    let oidc = config(&with("")).oidc.unwrap();

    assert_eq!(
        (oidc.issuer.as_str(), oidc.client_id.as_str()),
        ("https://login.example.org", "placet")
    );
    assert_eq!(oidc.client_secret, None);
    assert_eq!(oidc.scopes, ["email"]);
    assert_eq!((oidc.identify, oidc.label.as_str()), (Identify::Email, "single sign-on"));
    assert!(!oidc.allow_unknown && !oidc.narrows());
    assert_eq!(oidc.sign_in_life, Duration::from_hours(24));
    assert_eq!(oidc.attempt_life, Duration::from_mins(10));
    assert_eq!((oidc.max_attempts, oidc.max_answer), (20, 1 << 20));
    assert_eq!(
        (oidc.timeout, oidc.metadata_life),
        (Duration::from_secs(10), Duration::from_hours(1))
    );
}

#[test]
fn the_secret_is_given_like_other_secrets_and_never_shown() {
    let oidc = config(&with("client_secret = \"hunter22\"\n")).oidc.unwrap();

    assert_eq!(oidc.client_secret.as_ref().unwrap().expose(), "hunter22");
    assert!(!format!("{oidc:?}").contains("hunter22"));
    assert_eq!(
        keys(&with("client_secret = \"a\"\nclient_secret_env = \"B\"\n")),
        ["oidc.client_secret"]
    );
    assert_eq!(
        keys(&with("client_secret_file = \"/nowhere/at/all\"\n")),
        ["oidc.client_secret_file"]
    );
}

#[test]
fn an_issuer_is_https_or_on_this_machine() {
    let of = |issuer: &str| {
        keys(&format!("{PEOPLE}\n[oidc]\nissuer = \"{issuer}\"\nclient_id = \"placet\"\n"))
    };

    for fine in
        ["https://a.example/x/", "http://127.0.0.1:9/", "http://localhost:9", "http://[::1]:9"]
    {
        assert!(of(fine).is_empty(), "{fine}");
    }
    for wrong in [
        "http://a.example",
        "ftp://a.example",
        "a.example",
        "https://a.example/?x=1",
        "https://u:p@a.example",
        "",
    ] {
        assert_eq!(of(wrong), ["oidc.issuer"], "{wrong}");
    }
}

#[test]
fn people_must_be_able_to_be_found() {
    let nobody = format!("[oidc]\n{PROVIDER}");
    let no_mail = format!("[[reviewers]]\nname = \"ben\"\n[oidc]\n{PROVIDER}");

    assert_eq!(keys(&nobody), ["oidc"]);
    assert_eq!(keys(&no_mail), ["oidc.claim"]);
    assert_eq!(keys(&with("scopes = [\"profile\"]\n")), ["oidc.scopes"]);
    assert_eq!(keys(&with("subjects = { ana = \"1\" }\n")), ["oidc.subjects"]);
    assert_eq!(keys(&with("claim = \"sub\"\n")), ["oidc.subjects"]);
    assert_eq!(
        keys(&with("claim = \"sub\"\nsubjects = { anna = \"1\" }\n")),
        ["oidc.subjects.anna"]
    );
    assert_eq!(
        keys(&with("claim = \"sub\"\nsubjects = { ana = \"1\", ben = \"1\" }\n")),
        ["oidc.subjects.ben"]
    );
    let oidc = config(&with("claim = \"sub\"\nsubjects = { ana = \"1\", ben = \"2\" }\n")).oidc;
    assert_eq!(oidc.unwrap().subjects.get("2").map(String::as_str), Some("ben"));
}

#[test]
fn groups_are_confirmed_and_not_given() {
    let fine = with("groups = { oncall = [\"sre\", \"sre-lead\"] }\n");

    let oidc = config(&fine).oidc.unwrap();

    assert!(oidc.narrows());
    assert_eq!(oidc.mentioned(&["sre".into(), "staff".into()]), ["sre"]);
    let told = warnings(&fine);
    assert!(
        told.iter().any(|(key, why)| key == "oidc.groups.oncall" && why.contains("ben")),
        "{told:?}"
    );
    let told = errors(&with("groups = { onkall = [\"sre\"] }\n"));
    assert_eq!(told[0].0, "oidc.groups.onkall");
    assert!(told[0].1.contains("did you mean oncall?"), "{}", told[0].1);
    assert_eq!(keys(&with("groups = { oncall = [] }\n")), ["oidc.groups.oncall"]);
    assert_eq!(keys(&with("groups = { oncall = [1] }\n")), ["oidc.groups.oncall"]);
    assert_eq!(keys(&with("admin_groups = [\"root\"]\n")), ["oidc.admin_groups"]);
}

#[test]
fn an_answer_over_plain_http_is_warned_of() {
    let text = format!("[server]\npublic_url = \"http://placet.example.org\"\n{}", with(""));

    assert!(warnings(&text).iter().any(|(key, _)| key == "server.public_url"));
    assert!(!warnings(&with("")).iter().any(|(key, _)| key == "server.public_url"));
}

#[test]
fn who_signs_in_through_the_provider_needs_no_token() {
    let config = config(&with(""));
    let can = |name: &str| signs_in(config.oidc.as_ref().unwrap(), config.reviewer(name).unwrap());

    assert!(can("ana") && !can("ben"));
    assert!(crate::config::reach::can_sign_in(&config, config.reviewer("ana").unwrap()));
}
