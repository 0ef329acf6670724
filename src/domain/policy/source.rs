//! The text that a policy is read from, JSON or YAML, and where in it each part stands.

use super::problem::{Problem, Spot};
use super::walk::pointer_at;
use super::yaml;
use crate::domain::json::{self, JsonError, MAX_DEPTH, Node};

/// How a policy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON (<https://www.rfc-editor.org/rfc/rfc8259>).
    Json,
    /// YAML (<https://yaml.org/spec/1.2.2/>), as far as JSON can hold it.
    Yaml,
}

impl Format {
    /// By the name of the file: `.yaml` and `.yml` are YAML, all else is JSON.
    pub fn of(file: &std::path::Path) -> Self {
        let is =
            |e: &std::ffi::OsStr| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml");
        if file.extension().is_some_and(is) { Self::Yaml } else { Self::Json }
    }
}

/// A policy's text as JSON.
#[derive(Debug, Clone)]
pub(super) struct Source {
    json: String,
    places: Places,
}

#[derive(Debug, Clone)]
enum Places {
    /// The JSON text is the file's: where its lines begin.
    Own(Vec<usize>),
    /// It was lowered from another: where each key and value stands in that, by its first byte here.
    Lowered(Vec<(usize, Spot)>),
}

impl Source {
    /// Reads a text as JSON.
    ///
    /// # Errors
    /// The problem of a text that is refused.
    pub(super) fn read(text: &str, format: Format) -> Result<Self, Problem> {
        let source = match format {
            Format::Json => Self { json: text.to_owned(), places: Places::Own(line_starts(text)) },
            Format::Yaml => match yaml::lower(text) {
                Ok(yaml::Lowered { json, spots }) => Self { json, places: Places::Lowered(spots) },
                Err(yaml::NoYaml { spot, why }) => {
                    return Err(Problem { spot: Some(spot), ..Problem::new("", why, false) });
                }
            },
        };
        match json::parse(&source.json) {
            Ok(_) => Ok(source),
            Err(error) => Err(source.unreadable(&error)),
        }
    }

    /// The text as JSON, which it was checked to be.
    pub(super) fn json(&self) -> &str {
        &self.json
    }

    fn unreadable(&self, error: &JsonError) -> Problem {
        let (offset, mend) = match error {
            JsonError::Syntax { offset, .. } => (Some(*offset), "mend it there".to_owned()),
            JsonError::DuplicateKey { offset, .. } => {
                (Some(*offset), "keep one of the two".to_owned())
            }
            JsonError::LoneSurrogate { offset } => {
                (Some(*offset), "write the character itself".to_owned())
            }
            JsonError::TooDeep => (None, format!("write at most {MAX_DEPTH}")),
            JsonError::TooMany { limit } => (None, format!("write at most {limit}")),
        };
        let place = offset.map_or(String::new(), |offset| pointer_at(&self.json, offset));
        let spot = offset.map(|offset| self.spot_at(offset));
        let spot_in_words = spot.map(|s| format!(" (line {}, column {})", s.line, s.column));
        let mut what = format!("{error}{}", spot_in_words.unwrap_or_default());
        if let (Places::Lowered(_), JsonError::DuplicateKey { key, .. }) = (&self.places, error) {
            // The byte at which it stands is that of no file.
            what = format!("duplicate key {key:?}");
        }
        Problem { spot, ..Problem::new(&place, format!("{what}; {mend}"), false) }
    }

    /// Says of each problem where it stands.
    pub(super) fn locate(&self, problems: &mut [Problem]) {
        let Ok(root) = json::parse(&self.json) else { return };
        for problem in problems.iter_mut().filter(|problem| problem.spot.is_none()) {
            problem.spot = Some(self.spot_at(self.offset_of(&root, &problem.place)));
        }
    }

    /// Where what a pointer names begins: its key, where it has one. Of what is missing, that in which it
    /// is missed.
    fn offset_of(&self, root: &Node<'_>, pointer: &str) -> usize {
        let (mut node, mut begin) = (root, root.raw);
        for token in pointer.split('/').skip(1) {
            let key = token.replace("~1", "/").replace("~0", "~");
            if let Some(members) = node.members() {
                let Some(member) = members.iter().find(|m| m.key == key) else { break };
                (node, begin) = (&member.node, member.raw_key);
            } else {
                let element = key.parse().ok().and_then(|i: usize| node.elements()?.get(i));
                let Some(element) = element else { break };
                (node, begin) = (element, element.raw);
            }
        }
        begin.as_ptr().addr().saturating_sub(self.json.as_ptr().addr())
    }

    fn spot_at(&self, offset: usize) -> Spot {
        match &self.places {
            Places::Own(lines) => {
                let line = lines.partition_point(|start| *start <= offset);
                let start = line.checked_sub(1).map_or(0, |i| lines[i]);
                Spot { line: number(line), column: number(offset - start + 1) }
            }
            Places::Lowered(spots) => {
                let next = spots.partition_point(|(start, _)| *start <= offset);
                let before = next.checked_sub(1).and_then(|i| spots.get(i));
                before.map_or(Spot { line: 1, column: 1 }, |(_, spot)| *spot)
            }
        }
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
    std::iter::once(0).chain(breaks).collect()
}
