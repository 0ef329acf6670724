//! A document that is written as YAML with comments, or as JSON without them.

use std::fmt::Write as _;

use crate::domain::json::{self, Node, Value};

/// A value, and what is said beside it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Doc {
    /// An object, each member on lines of its own.
    Map(Vec<(String, Noted)>),
    /// An array, each element on lines of its own.
    List(Vec<Noted>),
    /// A value on one line.
    Line(Box<Self>),
    /// A string.
    Text(String),
    /// Any other JSON value, as it is written.
    Raw(String),
}

/// A value with what is said above it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noted {
    pub(super) note: Option<String>,
    pub(super) doc: Doc,
}

impl From<Doc> for Noted {
    fn from(doc: Doc) -> Self {
        Self { note: None, doc }
    }
}

impl Doc {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The same value as a part of JSON.
    pub(super) fn of(node: &Node<'_>) -> Self {
        match &node.value {
            Value::String(text) => Self::text(text.as_ref()),
            Value::Object(members) => {
                let each = members.iter();
                Self::Map(each.map(|m| (m.key.to_string(), Self::of(&m.node).into())).collect())
            }
            Value::Array(elements) => {
                let is_plain = |n: &Node<'_>| n.members().is_none() && n.elements().is_none();
                let list = Self::List(elements.iter().map(|n| Self::of(n).into()).collect());
                if elements.iter().all(is_plain) { Self::Line(Box::new(list)) } else { list }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Raw(node.raw.to_owned()),
        }
    }

    /// As YAML, its comments below those of the head.
    pub(super) fn as_yaml(&self, head: &[String]) -> String {
        let mut out = String::new();
        for line in head {
            note(line, 0, &mut out);
        }
        self.yaml(0, &mut out);
        out
    }

    /// As JSON.
    pub(super) fn as_json(&self) -> String {
        let mut out = String::new();
        self.json(0, &mut out);
        out.push('\n');
        out
    }

    fn is_block(&self) -> bool {
        match self {
            Self::Map(members) => !members.is_empty(),
            Self::List(elements) => !elements.is_empty(),
            Self::Line(_) | Self::Text(_) | Self::Raw(_) => false,
        }
    }

    /// Writes whole lines, each behind so many blanks.
    fn yaml(&self, indent: usize, out: &mut String) {
        match self {
            Self::Map(members) if !members.is_empty() => {
                for (key, Noted { note: words, doc }) in members {
                    if let Some(words) = words {
                        note(words, indent, out);
                    }
                    let _ = write!(out, "{:indent$}{}:", "", scalar(key));
                    doc.behind(indent, out);
                }
            }
            Self::List(elements) if !elements.is_empty() => {
                for Noted { note: words, doc } in elements {
                    if let Some(words) = words {
                        note(words, indent, out);
                    }
                    let _ = write!(out, "{:indent$}-", "");
                    if doc.is_block() {
                        // Its first line stands behind the dash.
                        let mut block = String::new();
                        doc.yaml(indent + 2, &mut block);
                        out.push(' ');
                        out.push_str(&block[indent + 2..]);
                    } else {
                        doc.behind(indent, out);
                    }
                }
            }
            _ => {
                self.line(out);
                out.push('\n');
            }
        }
    }

    fn behind(&self, indent: usize, out: &mut String) {
        if self.is_block() {
            out.push('\n');
            self.yaml(indent + 2, out);
        } else {
            out.push(' ');
            self.line(out);
            out.push('\n');
        }
    }

    /// Writes all of it on one line, as YAML.
    fn line(&self, out: &mut String) {
        match self {
            Self::Line(doc) => doc.line(out),
            Self::Text(text) => out.push_str(&scalar(text)),
            Self::Raw(raw) => out.push_str(raw),
            Self::List(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    element.doc.line(out);
                }
                out.push(']');
            }
            Self::Map(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    out.push_str(&scalar(key));
                    out.push_str(": ");
                    value.doc.line(out);
                }
                out.push('}');
            }
        }
    }

    fn json(&self, indent: usize, out: &mut String) {
        let parts: Vec<(Option<&str>, &Self)> = match self {
            Self::Line(doc) => return doc.json_line(out),
            Self::Map(members) if !members.is_empty() => {
                members.iter().map(|(key, noted)| (Some(key.as_str()), &noted.doc)).collect()
            }
            Self::List(elements) if !elements.is_empty() => {
                elements.iter().map(|noted| (None, &noted.doc)).collect()
            }
            _ => return self.json_line(out),
        };
        let (open, close) = if matches!(self, Self::Map(_)) { ('{', '}') } else { ('[', ']') };
        out.push(open);
        for (i, (key, doc)) in parts.into_iter().enumerate() {
            out.push_str(if i > 0 { ",\n" } else { "\n" });
            let _ = write!(out, "{:1$}", "", indent + 2);
            if let Some(key) = key {
                json::write_string(key, out);
                out.push_str(": ");
            }
            doc.json(indent + 2, out);
        }
        let _ = write!(out, "\n{:indent$}{close}", "");
    }

    fn json_line(&self, out: &mut String) {
        match self {
            Self::Line(doc) => doc.json_line(out),
            Self::Text(text) => json::write_string(text, out),
            Self::Raw(raw) => out.push_str(raw),
            Self::List(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    element.doc.json_line(out);
                }
                out.push(']');
            }
            Self::Map(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { " " });
                    json::write_string(key, out);
                    out.push_str(": ");
                    value.doc.json_line(out);
                }
                out.push_str(if members.is_empty() { "}" } else { " }" });
            }
        }
    }
}

fn note(words: &str, indent: usize, out: &mut String) {
    let words: String = words.chars().map(|c| if needs_escape(c) { ' ' } else { c }).collect();
    let _ = writeln!(out, "{:indent$}# {words}", "");
}

/// Whether a character may not stand in YAML as it is, or could not be seen there.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A string as YAML: plain where every reader takes it for one, else in double quotes.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    if begins && goes_on && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for c in json::quote(text).chars() {
        match u32::from(c) {
            code if needs_escape(c) && code <= 0xffff => {
                let _ = write!(quoted, "\\u{code:04x}");
            }
            _ => quoted.push(c),
        }
    }
    quoted
}
