//! The house rules that a compiler doesn't know.

use std::path::{Path, PathBuf};

/// No file of the sources is longer.
const MAX_LINES: usize = 600;

fn files(under: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(under);
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_domain_and_the_broker_know_no_adapter_and_no_clock() {
    let foreign = ["axum", "sqlx", "lettre", "reqwest", "tokio::net", "SystemTime"];
    let mut inner = files("src/domain");
    inner.extend(files("src/broker"));
    for name in ["src/domain.rs", "src/broker.rs"] {
        inner.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    }
    for path in inner {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in foreign {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn no_source_file_is_longer_than_a_person_reads_at_once() {
    let sources = files("src").into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs"));
    for path in sources {
        let lines = std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines; split it", path.display());
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |of: &str| {
        let files = files(&format!("migrations/{of}"));
        files.iter().map(|p| p.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };

    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}

#[test]
fn what_the_protocol_fixes_stands_in_its_own_module() {
    let fixed = [
        "2024-11-05",
        "2025-03-26",
        "2025-06-18",
        "2025-11-25",
        "2026-07-28",
        "io.modelcontextprotocol/",
        "io.placet/",
    ];
    // The domain knows what the protocol's own keys begin with, and none of them.
    let prefix = "pub const PROTOCOL_META_PREFIX: &str = \"io.modelcontextprotocol/\";";
    for path in files("src").into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_string_lossy();
        // Tests pin what goes over the wire.
        if name.starts_with("src/protocol") || name.contains("tests") || name.contains("fixtures") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for line in code.lines().map(str::trim).filter(|l| !l.starts_with("//") && *l != prefix) {
            for word in fixed {
                assert!(!line.contains(word), "{name} has {word}: use crate::protocol\n{line}");
            }
        }
    }
}

#[test]
fn who_faces_agents_and_people_asks_the_broker_and_names_no_store_and_no_adapter() {
    let adapters = [
        "store::sql",
        "store::driver",
        "SqlStore",
        "upstream::http",
        "upstream::sse",
        "upstream::stdio",
        "notify::email",
        "notify::memory",
        "notify::webhook",
        ".store()",
    ];
    // The port's data may pass, and an error's variant is no trait: those are called `Store`, and
    // `…Store` for each noun.
    let is_trait = |text: &str, end: usize| {
        text[..end].ends_with("Store")
            && !text[end..].starts_with(|c: char| c == '(' || c == '_' || c.is_alphanumeric())
    };
    for path in files("src").into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_string_lossy();
        let faces = ["src/mcp/", "src/mcp.rs", "src/web/", "src/web.rs"];
        // Tests build what they look at.
        if !faces.iter().any(|face| name.starts_with(face)) || name.contains("tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for word in adapters {
            assert!(!text.contains(word), "{name} names {word}: ask the broker");
        }
        let mut ends = text.match_indices("Store").map(|(at, word)| at + word.len());
        let found = ends.find(|end| is_trait(&text, *end));
        assert_eq!(found, None, "{name} names a trait of the store: ask the broker");
    }
}
