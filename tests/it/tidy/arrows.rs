//! Who uses whom in `src`, read from the text of the files.
//!
//! Only what the program itself is made of counts: modules behind `#[cfg(test)]` are left out. A
//! path is followed through `use` to the file that defines its last name, so that a re-export hides
//! no arrow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{files, root};

/// A module's place, `["mcp", "call", "hold"]`.
pub type Place = Vec<String>;

/// All modules of the library and what each one's text refers to.
pub struct House {
    /// A module's text, without comments and tests.
    texts: BTreeMap<Place, String>,
    /// What a module imports: the name in it, and the place and name behind it.
    imports: BTreeMap<Place, BTreeMap<String, Place>>,
}

/// Which file uses which others.
pub type Arrows = BTreeMap<Place, BTreeSet<Place>>;

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

    /// Which file uses definitions of which others.
    pub fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (from, text) in &self.texts {
            let paths = inline_paths(text);
            let inline = paths.iter().filter_map(|path| self.absolute(from, path));
            let used = self.imports[from].values().cloned().chain(inline);
            let homes = used.map(|path| self.home(&path));
            arrows.insert(from.clone(), homes.filter(|to| to != from && !to.is_empty()).collect());
        }
        arrows
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

/// Files that use each other in a ring, each ring sorted.
///
/// The file that gives a folder its name and the files of that folder are one thing: it may use
/// them, and they may use it. What else they do in a ring counts.
pub fn rings(arrows: &Arrows) -> Vec<Vec<String>> {
    let reached: BTreeMap<&Place, BTreeSet<&Place>> =
        arrows.keys().map(|from| (from, reach(arrows, from))).collect();
    let mut found = Vec::new();
    let mut done = BTreeSet::new();
    for start in arrows.keys() {
        let ring: BTreeSet<&Place> =
            reached[start].iter().filter(|to| reached[**to].contains(start)).copied().collect();
        if ring.len() < 2 || !done.insert(ring.clone()) {
            continue;
        }
        let shared = common(&ring);
        if !ring.contains(&shared) {
            found.push(ring.iter().map(|place| place.join("/")).collect());
            continue;
        }
        let inside = ring.iter().map(|from| {
            let to = arrows[*from].iter().filter(|to| **from != shared && ring.contains(to));
            ((*from).clone(), to.cloned().collect())
        });
        found.extend(rings(&inside.collect()));
    }
    found
}

/// Everything a file uses, and what that uses in turn.
fn reach<'a>(arrows: &'a Arrows, from: &Place) -> BTreeSet<&'a Place> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Place> = arrows.get(from).into_iter().flatten().collect();
    while let Some(place) = open.pop() {
        if reached.insert(place) {
            open.extend(arrows.get(place).into_iter().flatten());
        }
    }
    reached
}

/// The longest place that all of them begin with.
fn common(places: &BTreeSet<&Place>) -> Place {
    let mut places = places.iter();
    let mut shared = places.next().map(|place| (*place).clone()).unwrap_or_default();
    for place in places {
        let same = shared.iter().zip(place.iter()).take_while(|(a, b)| a == b).count();
        shared.truncate(same);
    }
    shared
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
