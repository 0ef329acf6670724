//! The house rules that a compiler doesn't know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrows::House;

mod arrows;

/// The floors of the house, the ground first: what stands on one uses what is below, and nothing
/// beside it or above.
const FLOORS: [&[&str]; 10] = [
    &["domain", "notified", "tcp", "telemetry"],
    &["clock", "id", "protocol"],
    &["config"],
    &["store"],
    &["auth", "upstream"],
    &["broker"],
    &["mcp", "notify", "reconcilers", "web"],
    &["app"],
    &["demo"],
    &["cli"],
];

/// No file of the program is longer.
const MAX_LINES: usize = 500;
/// No file of its tests is longer.
const MAX_LINES_OF_TESTS: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(under: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(under)];
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
fn no_files_use_each_other_in_a_ring() {
    let rings = arrows::rings(&House::read().arrows());

    assert!(rings.is_empty(), "these use each other in a ring: {rings:#?}");
}

#[test]
fn no_folder_uses_one_beside_it_or_above_it() {
    let floor_of = |entry: &str| FLOORS.iter().position(|floor| floor.contains(&entry));
    let arrows = House::read().arrows();
    let mut wrong = BTreeSet::new();
    for (from, to) in arrows.iter().filter(|(from, _)| !from.is_empty()) {
        let floor = floor_of(&from[0]);
        assert!(floor.is_some(), "src/{} stands on no floor; give it one here", from[0]);
        for to in to.iter().filter(|to| to[0] != from[0]) {
            let arrow = (from.join("/"), to.join("/"));
            if floor_of(&to[0]) >= floor {
                wrong.insert(arrow);
            }
        }
    }

    assert!(wrong.is_empty(), "these use what stands beside or above them: {wrong:#?}");
}

#[test]
fn a_ring_is_found_and_a_file_with_its_folder_is_none() {
    let place = |text: &str| -> arrows::Place { text.split('/').map(str::to_owned).collect() };
    let arrows = |pairs: &[(&str, &str)]| {
        let mut arrows = arrows::Arrows::new();
        for (from, to) in pairs {
            arrows.entry(place(from)).or_default().insert(place(to));
            arrows.entry(place(to)).or_default();
        }
        arrows
    };

    let folder = arrows(&[("a", "a/b"), ("a/b", "a"), ("a/c", "a/b"), ("a", "a/c")]);
    assert_eq!(arrows::rings(&folder), Vec::<Vec<String>>::new());
    let inside = arrows(&[("a", "a/b"), ("a/b", "a/c"), ("a/c", "a/b"), ("a/c", "a")]);
    assert_eq!(arrows::rings(&inside), [["a/b", "a/c"]]);
    let across = arrows(&[("a", "a/b"), ("a/b", "c"), ("c", "a")]);
    assert_eq!(arrows::rings(&across), [["a", "a/b", "c"]]);
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
        let is_test = path.to_string_lossy().contains("tests");
        let most = if is_test { MAX_LINES_OF_TESTS } else { MAX_LINES };
        assert!(lines <= most, "{} has {lines} lines; split it", path.display());
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
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let text = code.collect::<Vec<_>>().join("\n");
        for word in adapters {
            assert!(!text.contains(word), "{name} names {word}: ask the broker");
        }
        let mut ends = text.match_indices("Store").map(|(at, word)| at + word.len());
        let found = ends.find(|end| is_trait(&text, *end));
        assert_eq!(found, None, "{name} names a trait of the store: ask the broker");
    }
}

/// What holds more than one of something for longer than a statement.
const COLLECTIONS: [&str; 16] = [
    "Mutex<HashMap<",
    "Mutex<BTreeMap<",
    "Mutex<HashSet<",
    "Mutex<VecDeque<",
    "Mutex<Vec<",
    "RwLock<HashMap<",
    ": HashMap<",
    ": HashSet<",
    ": VecDeque<",
    "mpsc::channel(",
    "mpsc::channel::<",
    "unbounded_channel(",
    "broadcast::channel(",
    "broadcast::Sender::new(",
    "Semaphore::new(",
    "Mutex<BTreeSet<",
];

/// Fields and variables that are made anew for each thing that is read, or once from the
/// configuration.
const SHORT_LIVED: [&str; 13] = [
    "src/broker.rs",
    "src/broker/people/plan.rs",
    "src/broker/upkeep.rs",
    "src/config.rs",
    "src/config/checks.rs",
    "src/config/policies.rs",
    "src/demo.rs",
    "src/demo/archive.rs",
    "src/domain/policy.rs",
    "src/domain/policy/names.rs",
    "src/mcp/notifications.rs",
    "src/mcp/tasks/watch.rs",
    "src/upstream.rs",
];

#[test]
fn every_map_and_queue_stands_in_the_table_of_bounds() {
    let table = std::fs::read_to_string(root().join("docs/bounds.md")).unwrap();
    for path in files("src").into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let is_test = name.contains("tests") || name.contains("fake") || name.contains("recorded");
        if is_test || SHORT_LIVED.contains(&name.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        // A map in a function goes with it; the ends of a channel do not.
        let is_local = |line: &str| line.starts_with("let ") && !line.contains("channel");
        let mut lines =
            code.lines().map(str::trim).filter(|line| !line.starts_with("//") && !is_local(line));
        let Some(line) = lines.find(|line| COLLECTIONS.iter().any(|kind| line.contains(kind)))
        else {
            continue;
        };
        let place = name.trim_start_matches("src/").trim_end_matches(".rs");
        assert!(table.contains(&format!("`{place}`")), "docs/bounds.md lacks {place}: {line}");
    }
}

#[test]
fn the_tests_that_the_table_of_bounds_names_are_there() {
    let table = std::fs::read_to_string(root().join("docs/bounds.md")).unwrap();
    let mut sources = String::new();
    for path in files("src").into_iter().chain(files("tests")) {
        if path.extension().is_some_and(|e| e == "rs") {
            sources += &std::fs::read_to_string(path).unwrap();
        }
    }
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let names = last.flat_map(|cell| cell.split('`')).filter(|name| name.matches('_').count() > 3);
    let missing: Vec<&str> =
        names.filter(|name| !sources.contains(&format!("fn {name}("))).collect();

    assert!(missing.is_empty(), "{missing:#?}");
}

/// The constants of a source that are numbers or times, outside its tests.
fn numbers(code: &str) -> Vec<&str> {
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = code.lines().filter_map(|line| {
        let line = line.trim_start();
        let declared = line
            .split_once("const ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"))?
            .1;
        let (name, rest) = declared.split_once(": ")?;
        let kind = rest.split([' ', '=', ';', ',']).next()?.trim_start_matches('(');
        matches!(kind, "usize" | "u64" | "u32" | "Duration").then_some(name)
    });
    lines
        .filter(|name| {
            name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
        })
        .collect()
}

#[test]
fn every_constant_that_is_a_number_or_a_time_has_a_key_or_a_reason() {
    let listed = std::fs::read_to_string(root().join("docs/bounds.md")).unwrap();
    let listed = listed.split("### Each constant").nth(1).unwrap();
    let mut missing = Vec::new();
    for path in files("src").into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if name.contains("test")
            || name.contains("fixtures")
            || name.ends_with("config/upstreams.rs")
        {
            continue;
        }
        let place = format!("`{}` ", name.trim_start_matches("src/").trim_end_matches(".rs"));
        let named: Vec<&str> = listed
            .split(&place)
            .skip(1)
            .flat_map(|rest| rest.split([';', '`']).next().unwrap().split(&[',', '.', ' ', '\n']))
            .collect();
        let text = std::fs::read_to_string(&path).unwrap();
        for constant in numbers(&text).into_iter().filter(|c| !named.contains(c)) {
            missing.push(format!("{place}{constant}"));
        }
    }

    assert!(missing.is_empty(), "docs/bounds.md lacks {missing:#?}");
}
