use std::collections::HashSet;

use super::*;
use crate::domain::json;

/// Longest evidence, characters: a sentence or a few quoted words, not a description.
const MAX_EVIDENCE: usize = 110;

fn server(package: &str) -> &'static KnownServer {
    find(package).unwrap_or_else(|missing| panic!("{package}: {missing:?}"))
}

fn recognised(declared: &str, tools: &[&str]) -> Option<&'static str> {
    recognise(declared, tools).map(|server| server.package)
}

fn own(name: &str, description: &str) -> Classified {
    let (name, description) = (json::quote(name), json::quote(description));
    let raw = json::object([("name", name.as_str()), ("description", &description)]);
    Classified::of(&raw, false)
}

#[test]
fn at_least_sixty_servers_are_known_and_every_line_of_the_files_can_be_read() {
    for text in file::FILES {
        assert_eq!(file::read(text).1, [""; 0]);
        assert!(text.len() < 200 * 1024, "the files stay small in the binary");
    }
    assert!(all().len() >= 60, "{}", all().len());
    let mut packages = HashSet::new();
    for server in all() {
        assert!(packages.insert(server.package), "{} is there twice", server.package);
        assert!(!server.tools.is_empty() && !server.version.is_empty(), "{}", server.package);
        let mut names = HashSet::new();
        for tool in &server.tools {
            let place = format!("{} {}", server.package, tool.name);
            assert!(names.insert(tool.name), "{place} is there twice");
            assert!(tool.fingerprint.len() == 16, "{place}");
            assert!(!tool.evidence.is_empty(), "{place}");
            assert!(tool.evidence.chars().count() <= MAX_EVIDENCE, "{place}");
            let gravest = tool.flips.iter().map(|flip| flip.class).max();
            assert!(tool.class != RiskClass::Read || gravest.is_none(), "{place}");
        }
    }
}

#[test]
fn the_names_alone_say_nearly_always_what_people_read_out_of_the_definitions() {
    let (mut reads, mut right, mut destructive, mut grave) = (0, 0, 0, 0);
    for tool in all().iter().flat_map(|server| &server.tools) {
        let said = own(tool.name, "").class;
        match tool.class {
            RiskClass::Read => {
                reads += 1;
                right += usize::from(said == RiskClass::Read);
            }
            RiskClass::Destructive => {
                destructive += 1;
                grave += usize::from(said >= RiskClass::Execute);
            }
            _ => {}
        }
    }

    assert!(right * 100 >= reads * 88, "{right} of {reads} reads are called so");
    assert!(grave * 100 >= destructive * 75, "{grave} of {destructive} are called grave");
}

#[test]
fn a_server_is_recognised_by_its_name_and_most_of_its_tools() {
    let name = "awslabs.healthimaging-mcp-server";
    let tools: Vec<&str> = server(name).tools.iter().map(|tool| tool.name).collect();

    assert_eq!(recognised(name, &tools), Some(name));
    // A switch hides some, and a later version has more.
    assert_eq!(recognised(name, &tools[..3]), Some(name));
    let more: Vec<&str> = tools.iter().copied().chain(["a", "b", "c"]).collect();
    assert_eq!(recognised(name, &more), Some(name));

    assert_eq!(recognised("another", &tools), None);
    assert_eq!(recognised(name, &[]), None);
    assert_eq!(recognised(name, &["delete_image_set", "a", "b", "c"]), None);
}

#[test]
fn of_servers_of_one_name_the_one_whose_tools_it_has_is_meant() {
    let of = |package: &str| -> Vec<&str> {
        server(package).tools.iter().map(|tool| tool.name).collect()
    };
    let (old, new) = ("mcp-playwright", "@playwright/mcp");

    assert_eq!(server(old).declared, server(new).declared);
    assert_eq!(recognised("Playwright", &of(old)), Some(old));
    assert_eq!(recognised("Playwright", &of(new)), Some(new));
}

#[test]
fn what_is_known_is_milder_only_for_the_very_definition_that_was_read() {
    let tool = server("mcp-server-git").tool("git_reset").unwrap();
    let said = own("git_reset", "Unstages all staged changes");
    assert_eq!((tool.class, said.class), (RiskClass::Write, RiskClass::Destructive));
    let read = format!("{}{}", tool.fingerprint, "0".repeat(48));

    let known = tool.judge(&read, &said).unwrap();
    assert_eq!((known.class, known.severity), (tool.class, tool.severity));
    assert_eq!((known.is_known, known.why().as_str()), (true, tool.evidence));
    assert_eq!(tool.judge(&"0".repeat(64), &said), None);
    assert_eq!(tool.judge("", &said), None);
}

#[test]
fn who_changes_something_and_declares_to_destroy_is_believed_and_who_only_reads_is_not() {
    let judged = |package: &str, tool: &str| {
        let tool = server(package).tool(tool).unwrap();
        let raw = format!(
            r#"{{"name":"{}","annotations":{{"readOnlyHint":false,"destructiveHint":true}}}}"#,
            tool.name
        );
        let read = format!("{}{}", tool.fingerprint, "0".repeat(48));
        tool.judge(&read, &Classified::of(&raw, false)).map(|known| known.class)
    };

    assert_eq!(judged("mcp-server-git", "git_reset"), None);
    assert_eq!(judged("mcp-server-git", "git_status"), Some(RiskClass::Read));
}

#[test]
fn whoever_copies_a_known_name_gains_nothing_and_may_be_taken_for_graver() {
    let page = server("mcp-atlassian").tool("confluence_get_page").unwrap();
    assert_eq!(page.class, RiskClass::Read);
    assert_eq!(page.judge("1234", &own("confluence_get_page", "Deletes the page.")), None);

    let grave = server("awslabs.ecs-mcp-server").tool("ecs_resource_management").unwrap();
    let harmless = own("ecs_resource_management", "Lists clusters.");
    let known = grave.judge("1234", &harmless).unwrap();
    assert_eq!((known.class, known.severity), (RiskClass::Destructive, Severity::Critical));
    assert_eq!(known.evidence[0].place, Place::Catalogue);
}

#[test]
fn arguments_that_change_the_class_are_known_and_those_of_another_version_are_added() {
    let stash = server("@cyanheads/git-mcp-server").tool("git_stash").unwrap();
    let flips: Vec<_> = stash
        .flips
        .iter()
        .map(|f| (f.path.as_str(), f.values.join(","), f.class.as_str()))
        .collect();
    assert_eq!(
        flips,
        [
            ("args.mode", r#""list""#.to_owned(), "read"),
            ("args.mode", r#""push","pop","apply""#.to_owned(), "write"),
            ("args.mode", r#""drop","clear""#.to_owned(), "destructive"),
        ]
    );

    let later = Classified::of(
        r#"{"name":"git_stash","description":"Manage stashes","inputSchema":{"properties":{"force":{"type":"boolean"}}}}"#,
        false,
    );
    let known = stash.judge("1234", &later).unwrap();
    assert!(known.flips.iter().any(|f| f.path == "args.force"), "{:?}", known.flips);
}

#[test]
fn a_server_is_found_by_its_package_its_name_or_a_part_that_no_other_has() {
    let found = |word: &str| find(word).map(|server| server.package);

    assert_eq!(found("mcp-server-git"), Ok("mcp-server-git"));
    assert_eq!(found("awslabs.healthimaging"), Ok("awslabs.healthimaging-mcp-server"));
    assert_eq!(found("HealthImaging"), Ok("awslabs.healthimaging-mcp-server"));
    assert_eq!(found("secure-filesystem-server"), Ok("@modelcontextprotocol/server-filesystem"));
    assert!(matches!(found("playwright"), Err(Missing::Several(all)) if all.len() > 1));
    assert_eq!(found("nonesuch"), Err(Missing::Unknown));
    assert_eq!(found(""), Err(Missing::Unknown));
    assert_eq!(server("awslabs.healthimaging").title(), "awslabs.healthimaging 0.1.1");
}
