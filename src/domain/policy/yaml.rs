//! Policies written as YAML: lowered to JSON text, so that one reader reads both.
//!
//! Only what JSON can hold is read, and nothing is guessed at. Plain words are texts, `no` and `on` too; only
//! `true`, `false`, `null`, `~` and nothing mean what they mean in the core schema. A number keeps its digits,
//! and one that JSON does not spell so is refused, for readers of YAML differ in what it is. Keys are texts.
//! Tags and merge keys are refused; an alias repeats what its anchor names, within [`MAX_REPEATED`].
//!
//! <https://yaml.org/spec/1.2.2/#103-core-schema>

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::problem::Spot;
use crate::domain::json::{self, MAX_DEPTH};

/// Most bytes that all aliases of a file may repeat.
pub(super) const MAX_REPEATED: usize = 1 << 20;

/// What was lowered.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) json: String,
    /// Where each value and key stands that begins at a byte of the JSON text, in its order.
    pub(super) spots: Vec<(usize, Spot)>,
}

/// Why a text is refused, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoYaml {
    pub(super) spot: Spot,
    pub(super) why: String,
}

/// An array or object that is being written.
struct Open {
    is_object: bool,
    /// How many keys and values it has so far.
    parts: usize,
    anchor: usize,
    start: usize,
}

#[derive(Default)]
struct Writer {
    json: String,
    spots: Vec<(usize, Spot)>,
    open: Vec<Open>,
    /// What each anchor names, once that is written.
    anchors: HashMap<usize, Range<usize>>,
    repeated: usize,
    documents: usize,
}

/// Lowers a text.
///
/// # Errors
/// [`NoYaml`], for the first thing that is refused.
pub(super) fn lower(text: &str) -> Result<Lowered, NoYaml> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut writer = Writer::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| unread(&error))?;
        let spot = spot_of(span.start);
        let done = writer.event(event, spot);
        done.map_err(|why| NoYaml { spot, why })?;
    }
    if writer.json.is_empty() {
        let spot = Spot { line: 1, column: 1 };
        return Err(NoYaml { spot, why: "is empty; write a policy".to_owned() });
    }
    Ok(Lowered { json: writer.json, spots: writer.spots })
}

fn spot_of(mark: Marker) -> Spot {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Spot { line: number(mark.line()), column: number(mark.col() + 1) }
}

fn unread(error: &ScanError) -> NoYaml {
    NoYaml { spot: spot_of(*error.marker()), why: format!("not YAML: {}", error.info()) }
}

impl Writer {
    fn event(&mut self, event: Event<'_>, spot: Spot) -> Result<(), String> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("another document begins; write one in a file".to_owned());
                }
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, spot),
            Event::Scalar(text, style, anchor, tag) => {
                untagged(tag.as_deref())?;
                let is_plain = style == ScalarStyle::Plain;
                let start = self.begin(spot)?;
                if self.is_key() {
                    self.key(&text, is_plain)?;
                } else if is_plain {
                    self.plain(&text)?;
                } else {
                    json::write_string(&text, &mut self.json);
                }
                self.end(anchor, start);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                untagged(tag.as_deref())?;
                self.begin_part(false, anchor, spot)
            }
            Event::MappingStart(anchor, tag) => {
                untagged(tag.as_deref())?;
                self.begin_part(true, anchor, spot)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                self.json.push(if open.is_object { '}' } else { ']' });
                self.end(open.anchor, open.start);
                Ok(())
            }
        }
    }

    /// Whether a key of an object comes next.
    fn is_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.is_object && open.parts.is_multiple_of(2))
    }

    /// Writes what stands before a key or value. Returns where it begins.
    fn begin(&mut self, spot: Spot) -> Result<usize, String> {
        if self.open.is_empty() && !self.json.is_empty() {
            return Err("another value begins; write one in a file".to_owned());
        }
        if let Some(open) = self.open.last() {
            if open.is_object && !open.parts.is_multiple_of(2) {
                self.json.push(':');
            } else if open.parts > 0 {
                self.json.push(',');
            }
        }
        self.spots.push((self.json.len(), spot));
        Ok(self.json.len())
    }

    /// Notes that a key or value ended which began at `start`.
    fn end(&mut self, anchor: usize, start: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, start..self.json.len());
        }
        if let Some(open) = self.open.last_mut() {
            open.parts += 1;
        }
    }

    fn begin_part(&mut self, is_object: bool, anchor: usize, spot: Spot) -> Result<(), String> {
        if self.is_key() {
            return Err("is a key that is no text; write a text".to_owned());
        }
        if self.open.len() == MAX_DEPTH {
            return Err(format!(
                "nested deeper than {MAX_DEPTH} levels; write at most {MAX_DEPTH}"
            ));
        }
        let start = self.begin(spot)?;
        self.json.push(if is_object { '{' } else { '[' });
        self.open.push(Open { is_object, parts: 0, anchor, start });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, spot: Spot) -> Result<(), String> {
        let Some(range) = self.anchors.get(&anchor).cloned() else {
            return Err("is an alias inside of what it names; write it out".to_owned());
        };
        self.repeated += range.len();
        if self.repeated > MAX_REPEATED {
            return Err(format!("aliases repeat more than {MAX_REPEATED} bytes; write less"));
        }
        if self.is_key() {
            return Err("is a key that is an alias; write the text".to_owned());
        }
        self.begin(spot)?;
        let repeated = self.json[range].to_owned();
        self.json.push_str(&repeated);
        self.end(0, 0);
        Ok(())
    }

    fn key(&mut self, text: &str, is_plain: bool) -> Result<(), String> {
        if is_plain && text == "<<" {
            return Err("merge keys (<<) are not read; write the keys out".to_owned());
        }
        if is_plain && !matches!(plain(text), Plain::Text) {
            return Err(format!("{text:?} is a key that is no text; put it in quotes"));
        }
        json::write_string(text, &mut self.json);
        Ok(())
    }

    fn plain(&mut self, text: &str) -> Result<(), String> {
        match plain(text) {
            Plain::Text => json::write_string(text, &mut self.json),
            Plain::Value(json) => self.json.push_str(json),
            Plain::Unsure => {
                return Err(format!(
                    "{text:?} is a number to some readers and not to others, or not the same one; \
                     write it as JSON does, or put it in quotes"
                ));
            }
        }
        Ok(())
    }
}

fn untagged(tag: Option<&saphyr_parser::Tag>) -> Result<(), String> {
    match tag {
        None => Ok(()),
        Some(tag) => Err(format!("tags ({tag}) are not read; remove it, and quote what is a text")),
    }
}

/// What a scalar without quotes is.
enum Plain<'t> {
    Text,
    /// JSON that says the same.
    Value(&'t str),
    /// YAML 1.1, YAML 1.2 and programs that read either don't agree.
    Unsure,
}

fn plain(text: &str) -> Plain<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Value("null"),
        "true" | "True" | "TRUE" => return Plain::Value("true"),
        "false" | "False" | "FALSE" => return Plain::Value("false"),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let begins = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return Plain::Unsure;
    }
    if !begins.starts_with(|c: char| c.is_ascii_digit()) {
        return Plain::Text;
    }
    if json::parse(text).is_ok() {
        return Plain::Value(text);
    }
    if is_other_number(unsigned) { Plain::Unsure } else { Plain::Text }
}

/// Whether some reader of YAML takes it for a number: `0x1F`, `0o17`, `0b1`, `017`, `1_000`, `.5`, `5.`.
fn is_other_number(unsigned: &str) -> bool {
    let digits = |text: &str, base: u32| {
        text.chars().any(|c| c.is_digit(base)) && text.chars().all(|c| c == '_' || c.is_digit(base))
    };
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = unsigned.strip_prefix(prefix) {
            return digits(rest, base);
        }
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let some = |text: &str| text.is_empty() || digits(text, 10);
    some(whole) && some(fraction) && digits(exponent, 10) && mantissa != "."
}
