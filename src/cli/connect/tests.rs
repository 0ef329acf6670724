//! Each client's configuration, printed and merged.

use std::path::Path;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::config::tests::config;
use crate::domain::json;

use super::*;

const ONE: &str = "[[upstreams]]\nname = \"images\"\nurl = \"http://h/\"\n\
     [[agents]]\nname = \"ci\"\ntoken = \"aaaaaaaaaaaaaaaaaaaaaaa\"\n";
const TWO: &str = "[[upstreams]]\nname = \"images\"\nurl = \"http://h/\"\n\
     [[upstreams]]\nname = \"mail\"\nurl = \"http://h/\"\n\
     [[agents]]\nname = \"ci\"\ntoken = \"aaaaaaaaaaaaaaaaaaaaaaa\"\n\
     [[agents]]\nname = \"cursor\"\ntoken = \"bbbbbbbbbbbbbbbbbbbbbbb\"\nupstreams = [\"mail\"]\n";
const ALL: [&str; 6] = ["claude-code", "claude-desktop", "cursor", "vscode", "codex", "inspector"];

fn args(line: &str) -> ConnectArgs {
    let words = ["placet", "connect"].into_iter().chain(line.split(' '));
    match Cli::try_parse_from(words).unwrap().command {
        Command::Connect(args) => args,
        other => panic!("{other:?}"),
    }
}

fn secrets(name: &str) -> Option<String> {
    (name == "PLACET_AGENT_TOKEN").then(|| "plt_the-token".to_owned())
}

fn setup(line: &str, text: &str) -> Result<(Setup, Target), String> {
    let args = args(line);
    let config = config(text);
    let (target, _) = target(&args, Some(&config), &secrets).map_err(|f| f.message)?;
    Ok((args.client.setup(&target, None), target))
}

fn printed(line: &str, text: &str) -> String {
    fresh(&setup(line, text).unwrap().0)
}

#[test]
fn every_client_is_told_the_address_and_no_token() {
    for client in ALL {
        let text = printed(client, ONE);

        match client {
            "codex" => {
                let table: toml::Table = text.parse().unwrap();
                let server = &table["mcp_servers"]["placet-images"];
                assert_eq!(server["url"].as_str(), Some("http://127.0.0.1:8420/mcp/images"));
                assert_eq!(server["bearer_token_env_var"].as_str(), Some("PLACET_AGENT_TOKEN"));
                assert_eq!(server["tool_timeout_sec"].as_integer(), Some(3_600));
            }
            _ => drop(json::parse(&text).unwrap_or_else(|e| panic!("{client}: {e}\n{text}"))),
        }
        assert!(text.contains("127.0.0.1:8420"), "{text}");
        assert!(!text.contains("plt_the-token"), "{text}");
    }
}

#[test]
fn clients_that_expand_variables_are_told_the_name() {
    assert_eq!(
        printed("claude-code --token-env MY_TOKEN", ONE),
        "{\n  \"mcpServers\": {\n    \"placet-images\": {\n      \"type\": \"http\",\n      \
         \"url\": \"http://127.0.0.1:8420/mcp/images\",\n      \"headers\": {\n        \
         \"Authorization\": \"Bearer ${MY_TOKEN}\"\n      },\n      \"timeout\": 3600000\n    }\n  }\n}\n"
    );
    assert!(printed("cursor", ONE).contains("\"Bearer ${env:PLACET_AGENT_TOKEN}\""));
    let vscode = printed("vscode", ONE);
    let root = json::parse(&vscode).unwrap();
    assert!(vscode.contains("\"Bearer ${input:placet-token}\""));
    let input = &root.get("inputs").unwrap().elements().unwrap()[0];
    assert_eq!(input.get("id").unwrap().as_str(), Some("placet-token"));
    assert_eq!(input.get("password").unwrap().as_bool(), Some(true));
    assert_eq!(
        root.get("servers").unwrap().get("placet-images").unwrap().get("type").unwrap().as_str(),
        Some("http")
    );
}

#[test]
fn claude_desktop_starts_the_bridge_and_its_token_is_pasted_or_asked_for() {
    let (setup_, _) = setup("claude-desktop --server https://p.example.org", ONE).unwrap();
    let text = fresh(&setup_);

    assert!(setup_.needs_paste);
    assert!(
        text.contains(r#"["stdio", "--upstream", "images", "--server", "https://p.example.org"]"#)
    );
    assert!(text.contains("PASTE"));
    let (setup_, _) = setup("claude-desktop --put-token", ONE).unwrap();
    assert!(!setup_.needs_paste && fresh(&setup_).contains("plt_the-token"));
}

#[test]
fn the_token_itself_stands_there_only_when_asked_for() {
    for client in ALL {
        let text = printed(&format!("{client} --put-token"), ONE);
        assert_eq!(text.matches("plt_the-token").count(), 1, "{text}");
        assert!(!text.contains("${") && !text.contains("bearer_token"), "{text}");
    }
    let unset = setup("cursor --put-token --token-env NOT_SET", ONE).unwrap_err();
    assert!(unset.contains("NOT_SET is not set"), "{unset}");
}

#[test]
fn the_anonymous_agent_needs_no_token() {
    let text = "[[upstreams]]\nname = \"images\"\nurl = \"http://h/\"\n";
    for client in ALL {
        let said = printed(client, text);
        assert!(!said.contains("Authorization") && !said.contains("TOKEN"), "{said}");
        assert!(!said.contains("inputs") && !said.contains("bearer"), "{said}");
    }
}

#[test]
fn several_upstreams_are_reached_at_one_address_or_by_one_command_each() {
    assert!(printed("claude-code --agent ci", TWO).contains("\"http://127.0.0.1:8420/mcp\""));
    assert!(printed("claude-code --upstream mail", TWO).contains("/mcp/mail\""));
    // The agent that is called as the client is meant, and it has one upstream.
    assert!(printed("cursor", TWO).contains("\"http://127.0.0.1:8420/mcp/mail\""));
    let desktop = printed("claude-desktop --agent ci", TWO);
    assert!(desktop.contains("placet-images") && desktop.contains("placet-mail"), "{desktop}");
}

#[test]
fn what_can_not_be_connected_is_said_with_the_mend() {
    for (line, text, why) in [
        ("cursor", "", "there are no upstreams: add [[upstreams]]"),
        ("cursor --upstream imges", ONE, "no upstream is called \"imges\"; did you mean images?"),
        ("cursor --agent cj", ONE, "no agent is called \"cj\""),
        ("cursor --upstream images", TWO, "agent cursor may not use images"),
        ("cursor --token-env A-B", ONE, "not the name of an environment variable"),
        ("cursor --server ftp://x", ONE, "not the address of a broker"),
    ] {
        let said = setup(line, text).unwrap_err();
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn with_upstream_and_server_no_configuration_is_needed() {
    let args = args("codex --upstream images --server https://p.example.org/x/");

    let (target, agent) = target(&args, None, &secrets).unwrap();

    assert_eq!(
        (target.entries[0].url.as_str(), agent),
        ("https://p.example.org/x/mcp/images", None)
    );
    assert!(
        super::target(
            &super::tests::args("codex --upstream A/B --server http://h"),
            None,
            &secrets
        )
        .is_err()
    );
}

#[test]
fn merging_keeps_what_is_there_and_says_what_goes_around_placet() {
    let dir = std::env::temp_dir().join(format!("placet-connect-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    for (client, file, before, other) in [
        ("claude-code", ".mcp.json", "{\"mcpServers\": {\"own\": {\"command\": \"x\"}}}", "own"),
        (
            "claude-desktop --put-token",
            "d.json",
            "{\"theme\":\"dark\",\"mcpServers\":{\"own\":{}}}",
            "own",
        ),
        ("cursor", "a/b/mcp.json", "", ""),
        (
            "vscode",
            "v.json",
            "{\n\t\"servers\": {\"own\": {}},\n\t\"inputs\": [{\"id\": \"x\"}]\n}",
            "own",
        ),
        ("codex", "config.toml", "# mine\n[mcp_servers.own]\ncommand = \"x\"\n", "own"),
        ("inspector", "mcp.json", "{\"mcpServers\": {}}", ""),
    ] {
        let path = dir.join(file);
        if !before.is_empty() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, before).unwrap();
        }
        let (setup, target) = setup(client, ONE).unwrap();

        let merged = write(&setup, &target, &path).unwrap();
        let after = std::fs::read_to_string(&path).unwrap();
        let again = write(&setup, &target, &path).unwrap();

        assert!(merged.changed && !merged.replaced && !again.changed, "{client}");
        assert_eq!(merged.others, if other.is_empty() { vec![] } else { vec![other] }, "{client}");
        assert_eq!(merged.backup.is_some(), !before.is_empty(), "{client}");
        assert!(again.backup.is_none() && after.contains("placet-images"), "{client}: {after}");
        match setup.format {
            Format::Json => drop(json::parse(&after).unwrap()),
            Format::Toml => {
                assert!(after.starts_with("# mine\n[mcp_servers.own]\ncommand = \"x\"\n"));
                after.parse::<toml::Table>().unwrap();
            }
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn a_file_that_can_not_be_read_for_certain_is_left_as_it_is() {
    let path = std::env::temp_dir().join(format!("placet-connect-odd-{}.json", std::process::id()));
    let before = "{\n  // mine\n  \"servers\": {}\n}";
    std::fs::write(&path, before).unwrap();
    let (setup, target) = setup("vscode", ONE).unwrap();

    let error = write(&setup, &target, &path).unwrap_err();

    assert!(error.contains("left as it is") && error.contains("by hand"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    let _ = std::fs::remove_file(&path);
}

#[test]
fn each_clients_own_file_is_where_the_client_looks() {
    let env = |name: &str| (name == "HOME").then(|| "/home/ana".to_owned());
    let file = |c: Client| c.file(&env).unwrap();

    assert_eq!(file(Client::ClaudeCode), Path::new(".mcp.json"));
    assert_eq!(file(Client::Cursor), Path::new(".cursor/mcp.json"));
    assert_eq!(file(Client::Vscode), Path::new(".vscode/mcp.json"));
    assert_eq!(file(Client::Codex), Path::new("/home/ana/.codex/config.toml"));
    assert!(file(Client::ClaudeDesktop).ends_with("Claude/claude_desktop_config.json"));
    assert_eq!(Client::Codex.file(&|_| None), None);
}
