//! The names that an upstream lists: which patterns fit one of them, and which is nearest to a slip.
//!
//! A list may have ten thousand names and a policy a thousand rules, so names are hashed and sorted, and
//! how much is compared letter by letter is bounded.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use super::pattern::{Pattern, is_glob};
use super::read_parts::MAX_NAME;

/// Most that is compared for one policy, in pairs of letters. What is found after it is told without
/// the nearest name.
const MAX_COMPARED: usize = 10_000_000;
/// What one comparison costs besides its letters, in the same measure.
const COMPARISON: usize = 64;
/// Fewest letters of a glob by which a name may be near to it.
const FEWEST_LETTERS: usize = 3;

/// The names of one list.
pub(super) struct Names<'t> {
    all: Vec<&'t str>,
    index: HashMap<&'t str, usize>,
    sorted: Vec<&'t str>,
    /// As they are compared; made for the first slip.
    folded: OnceCell<Vec<Folded>>,
    left: Cell<usize>,
}

/// A name without what people mix up: upper case and separators.
struct Folded {
    text: String,
    /// How many characters.
    length: usize,
    /// Which characters it has, by their remainders of 64.
    letters: u64,
}

impl Folded {
    fn of(text: &str) -> Self {
        let text: String = text
            .to_lowercase()
            .chars()
            .filter(|c| !matches!(c, '-' | '_' | '.' | '/' | ' '))
            .collect();
        let letters = text.chars().fold(0, |set, c| set | 1 << (u32::from(c) % 64));
        Self { length: text.chars().count(), letters, text }
    }
}

impl<'t> Names<'t> {
    pub(super) fn new(names: impl Iterator<Item = &'t str>) -> Self {
        let all: Vec<&str> = names.collect();
        let index = all.iter().enumerate().map(|(i, name)| (*name, i)).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        Self { all, index, sorted, folded: OnceCell::new(), left: Cell::new(MAX_COMPARED) }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Whether the pattern fits a name. The one that fits everything always does.
    pub(super) fn any_fits(&self, pattern: &Pattern) -> bool {
        let text = pattern.text.as_str();
        if text == "*" || self.find(text).is_some() {
            return true;
        }
        if !is_glob(text) {
            return false;
        }
        let start = &text[..text.find(['*', '?', '[', '{', '\\']).unwrap_or(text.len())];
        let piece = if text.contains(['[', '{', '\\']) { start } else { longest_piece(text).0 };
        let from = self.sorted.partition_point(|name| *name < start);
        let mut begin_so = self.sorted[from..].iter().take_while(|name| name.starts_with(start));
        begin_so.any(|name| name.contains(piece) && pattern.fits(name))
    }

    /// The name that was probably meant by a name or glob that fits none. The rule is that of
    /// unknown keys: at most a third of the letters differ.
    pub(super) fn nearest(&self, text: &str) -> Option<&'t str> {
        if text.len() > MAX_NAME {
            return None;
        }
        let folded = self.folded.get_or_init(|| {
            // A longer one can't stand in a policy.
            let bounded = self.all.iter().map(|name| if name.len() > MAX_NAME { "" } else { name });
            bounded.map(Folded::of).collect()
        });
        let mut best: Option<(usize, usize)> = None;
        let (piece, place) = longest_piece(text);
        let meant = Folded::of(piece);
        if is_glob(text) && (meant.length < FEWEST_LETTERS || text.contains(['[', '{', '\\'])) {
            return None;
        }
        for (i, name) in folded.iter().enumerate() {
            let distance = match place {
                Piece::Whole => self.distance(&meant, name),
                _ => self.distance_within(&meant, name, place),
            };
            if let Some(distance) = distance
                && best.is_none_or(|(least, _)| distance < least)
            {
                best = Some((distance, i));
                if distance == 0 {
                    break;
                }
            }
        }
        best.map(|(_, i)| self.all[i])
    }

    /// How many edits lead from one to the other, where that is few.
    fn distance(&self, a: &Folded, b: &Folded) -> Option<usize> {
        let longer = a.length.max(b.length);
        let few = |edits: usize| edits * 3 <= longer + 1;
        let missing =
            (a.letters & !b.letters).count_ones().max((b.letters & !a.letters).count_ones());
        if b.length == 0 || !few(a.length.abs_diff(b.length)) || !few(missing as usize) {
            return None;
        }
        Some(self.edits(&a.text, &b.text)?).filter(|edits| few(*edits))
    }

    /// How many edits lead from the letters of a glob to some letters of a name at that place, where
    /// that is few.
    fn distance_within(&self, piece: &Folded, name: &Folded, place: Piece) -> Option<usize> {
        let few = |edits: usize| edits * 4 <= piece.length.max(4);
        if !name.text.is_ascii() || !few((piece.letters & !name.letters).count_ones() as usize) {
            return None;
        }
        let lengths = [piece.length, piece.length + 1, piece.length - 1];
        let windows =
            lengths.into_iter().filter(|length| *length <= name.length).flat_map(|length| {
                let last = name.length - length;
                let starts = match place {
                    Piece::Start => 0..=0,
                    Piece::End => last..=last,
                    Piece::Whole | Piece::Middle => 0..=last,
                };
                starts.map(move |start| start..start + length)
            });
        let distances = windows.map_while(|window| self.edits(&piece.text, &name.text[window]));
        distances.min().filter(|edits| few(*edits))
    }

    /// None once too much was compared.
    fn edits(&self, a: &str, b: &str) -> Option<usize> {
        let left = self.left.get().checked_sub(a.len() * b.len() + COMPARISON)?;
        self.left.set(left);
        Some(strsim::osa_distance(a, b))
    }
}

/// Where in a glob its longest piece without wildcards stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Whole,
    Start,
    Middle,
    End,
}

/// The longest piece of a glob without wildcards; of a name the whole of it.
fn longest_piece(text: &str) -> (&str, Piece) {
    if !is_glob(text) {
        return (text, Piece::Whole);
    }
    let last = text.matches(['*', '?']).count();
    let pieces = text.split(['*', '?']).enumerate().map(|(i, piece)| match i {
        0 => (piece, Piece::Start),
        i if i == last => (piece, Piece::End),
        _ => (piece, Piece::Middle),
    });
    pieces.max_by_key(|(piece, _)| piece.len()).unwrap_or((text, Piece::Whole))
}
