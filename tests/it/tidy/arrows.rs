//! Who uses whom in `src`, read from the text of the files.
//!
//! Only what the program itself is made of counts: modules behind `#[cfg(test)]` are left out. A
//! path is followed through `use` to the file that defines its last name, so that a re-export hides
//! no arrow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{files, root};

/// A module's place, `["mcp", "call", "hold"]`.
type Place = Vec<String>;

/// All modules of the library and what each one's text refers to.
pub struct House {
    /// A module's text, without comments and tests.
    texts: BTreeMap<Place, String>,
    /// What a module imports: the name in it, and the place and name behind it.
    imports: BTreeMap<Place, BTreeMap<String, Place>>,
}

/// One entry of a folder uses another; the files that show it.
pub type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

impl House {
    /// Reads `src`.
    pub fn read() -> Self {
        let mut texts = BTreeMap::new();
        for path in files("src") {
            if path.extension().is_none_or(|e| e != "rs") || path.ends_with("src/main.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            texts.insert(place_of(&path), text);
        }
        let tests: Vec<Place> = texts
            .iter()
            .flat_map(|(place, text)| test_modules(text).map(move |name| child(place, &name)))
            .collect();
        texts.retain(|place, _| !tests.iter().any(|test| place.starts_with(test)));
        for text in texts.values_mut() {
            *text = code_of(text);
        }
        let mut house = Self { texts, imports: BTreeMap::new() };
        for (place, text) in &house.texts {
            let imports = uses(text).into_iter().filter_map(|(path, name)| {
                let mut target = house.absolute(place, &path)?;
                let last = target.last()?.clone();
                target.dedup_by(|a, b| a == "self" && a == b);
                Some((name.unwrap_or(last), target))
            });
            let imports: BTreeMap<_, _> = imports.collect();
            house.imports.insert(place.clone(), imports);
        }
        house
    }

    /// The arrows between the entries of each folder; the folder `""` is `src` itself. An entry is
    /// a file together with the folder of its name. The file that gives a folder its name is no
    /// entry of it: it declares the others and holds what they share.
    pub fn folders(&self) -> BTreeMap<String, Arrows> {
        let mut folders: BTreeMap<String, Arrows> = BTreeMap::new();
        for (from, text) in &self.texts {
            let mut targets: BTreeSet<Place> = BTreeSet::new();
            targets.extend(self.imports[from].values().map(|path| self.home(path)));
            for path in inline_paths(text) {
                targets.extend(self.absolute(from, &path).map(|path| self.home(&path)));
            }
            for to in targets {
                let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                    let files = folders
                        .entry(from[..shared].join("/"))
                        .or_default()
                        .entry((one.clone(), other.clone()))
                        .or_default();
                    files.insert(format!("{} uses {}", from.join("/"), to.join("/")));
                }
            }
        }
        folders
    }

    /// The whole path of one that starts with `crate`, `super`, `self` or a child's name; none for
    /// what other crates have.
    fn absolute(&self, from: &Place, path: &[String]) -> Option<Place> {
        let mut place = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                place.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    place.pop();
                    rest = &rest[1..];
                }
            }
            name if self.texts.contains_key(&child(from, name)) => {}
            _ => return None,
        }
        place.extend(rest.iter().filter(|word| *word != "self").cloned());
        Some(place)
    }

    /// The module that defines what a whole path names.
    fn home(&self, path: &[String]) -> Place {
        let mut path = path.to_vec();
        // Longer than any chain of re-exports.
        for _ in 0..8 {
            let module = (0..=path.len()).rev().find(|n| self.texts.contains_key(&path[..*n]));
            let module = path[..module.unwrap_or(0)].to_vec();
            let name = path.get(module.len());
            let behind = name.and_then(|name| self.imports.get(&module)?.get(name));
            match behind {
                Some(behind) if *behind != path => path = behind.clone(),
                _ => return module,
            }
        }
        path
    }
}

/// A circle among the entries of a folder, if there is one: each uses the next, the last the first.
pub fn ring(arrows: &Arrows) -> Option<Vec<String>> {
    let next = |one: &str| -> Vec<&String> {
        arrows.keys().filter(|(from, _)| from == one).map(|(_, to)| to).collect()
    };
    let starts: BTreeSet<&String> = arrows.keys().map(|(from, _)| from).collect();
    for start in starts {
        // The shortest way back to where it started.
        let mut ways = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
            for to in next(way.last().unwrap()) {
                if to == start {
                    return Some(way);
                }
                if seen.insert(to.clone()) {
                    ways.push([way.clone(), vec![to.clone()]].concat());
                }
            }
        }
    }
    None
}

fn place_of(path: &Path) -> Place {
    let path = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let place: Place = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if place == ["lib"] { Vec::new() } else { place }
}

fn child(place: &Place, name: &str) -> Place {
    [place.as_slice(), &[name.to_owned()]].concat()
}

/// Names of the modules that only tests have.
fn test_modules(text: &str) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut names = Vec::new();
    for pair in lines.windows(2) {
        if pair[0] == "#[cfg(test)]"
            && let Some((_, rest)) = pair[1].split_once("mod ")
            && let Some(name) = rest.strip_suffix(';')
        {
            names.push(name.to_owned());
        }
    }
    names.into_iter()
}

/// Without comments, and without the tests at the end.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every `use`: its path, and the name it has here where that is another.
fn uses(text: &str) -> Vec<(Place, Option<String>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let starts = rest[..at].chars().next_back().is_none_or(|c| c == '\n' || c == ' ');
        rest = &rest[at + 4..];
        if starts && let Some(end) = rest.find(';') {
            tree(&rest[..end], &Vec::new(), &mut found);
        }
    }
    found
}

/// `a::{b, c::{self, d as e}}` as its paths.
fn tree(text: &str, before: &Place, found: &mut Vec<(Place, Option<String>)>) {
    let text = text.trim();
    let Some(open) = text.find('{') else {
        let (path, name) = match text.split_once(" as ") {
            Some((path, name)) => (path, Some(name.trim().to_owned())),
            None => (text, None),
        };
        let words = path.split("::").map(|word| word.trim().to_owned()).filter(|w| !w.is_empty());
        let path: Place = before.iter().cloned().chain(words).collect();
        if path.iter().all(|word| word.chars().all(|c| c.is_alphanumeric() || c == '_')) {
            found.push((path, name));
        }
        return;
    };
    let head = text[..open].split("::").map(|word| word.trim().to_owned());
    let before: Place = before.iter().cloned().chain(head.filter(|w| !w.is_empty())).collect();
    let inside = text[open + 1..].trim_end().strip_suffix('}').unwrap_or_default();
    let mut depth = 0;
    let mut start = 0;
    for (i, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                tree(&inside[start..i], &before, found);
                start = i + 1;
            }
            _ => {}
        }
    }
    if !inside[start..].trim().is_empty() {
        tree(&inside[start..], &before, found);
    }
}

/// Paths that stand in the code itself, `crate::a::b` or `super::c`.
fn inline_paths(text: &str) -> Vec<Place> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for chunk in text.split(|c| !word(c)) {
        let path: Place = chunk.split("::").map(str::to_owned).collect();
        if path.len() > 1 && matches!(path[0].as_str(), "crate" | "super" | "self") {
            found.push(path);
        }
    }
    found
}
