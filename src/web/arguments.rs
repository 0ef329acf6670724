//! A call's JSON as HTML: every value exactly as it will be sent, nothing hidden, nothing live.
//!
//! Strings stay JSON literals, so that a quote in a value can't look like the end of it; invisible
//! characters become marked escapes; mixed scripts are flagged. Long values are folded with their
//! length and counted, so that a page can withhold *Approve* until everything was shown.

use std::fmt::Write as _;

use crate::domain::json::{self, Node, Value};
use crate::domain::mask::Masker;
use crate::domain::visible_text::{Eye, mixed_script, spelled_out, visible};

/// Longer values are folded, characters.
pub(crate) const FOLD_OVER: usize = 2_000;

/// How much of a folded value is still shown, characters.
const FOLD_SHOWN: usize = 120;

/// How much of a call's JSON is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Show {
    /// Whether long values are shown in full.
    pub full: bool,
    /// Whether masked values are shown as they are.
    pub revealed: bool,
}

/// JSON as HTML, and what of it is not plain to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// Safe HTML for inside a `pre`.
    pub html: String,
    /// How many long values are folded.
    pub folded: usize,
    /// How many values are masked, or are secret and shown on request.
    pub secrets: usize,
    /// How many characters are spelled out, and words of mixed scripts.
    pub flags: usize,
}

/// Renders JSON text; `redact` are the rule's own secret keys.
pub(crate) fn render(raw: &str, masker: &Masker, redact: &[String], show: Show) -> Rendered {
    let masked_text = masker.mask(raw, redact);
    let mut out = Rendered::default();
    if let (Ok(node), Ok(masked)) = (json::parse(raw), json::parse(&masked_text)) {
        Writer { out: &mut out, show }.value(&node, &masked, 0);
    } else {
        // Only what was once parsed is stored; if it can't be read now, nobody can approve it.
        out.folded = 1;
        out.html.push_str("<i>these bytes can't be read as JSON</i>");
    }
    out
}

/// The same bytes as one run of text, for whoever wants to take them elsewhere: masked where the
/// page masks, and what can't be seen as escapes of JSON, which mean the same.
pub(crate) fn raw(raw: &str, masker: &Masker, redact: &[String], show: Show) -> String {
    let masked = if show.revealed { raw.to_owned() } else { masker.mask(raw, redact) };
    let mut html = String::with_capacity(masked.len());
    let mut eye = Eye::default();
    for c in masked.chars() {
        if eye.sees(c) || matches!(c, '\n' | '\r' | '\t') {
            push_escaped_char(c, &mut html);
        } else {
            html.push_str("<b class=\"odd\">");
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(html, "\\u{unit:04x}");
            }
            html.push_str("</b>");
        }
    }
    html
}

/// Whether masking changes anything in this JSON text.
pub(crate) fn has_secrets(raw: &str, masker: &Masker, redact: &[String]) -> bool {
    render(raw, masker, redact, Show { full: false, revealed: false }).secrets > 0
}

/// One line for lists: masked, spelled out, cut at `max` characters.
pub(crate) fn one_line(raw: &str, masker: &Masker, redact: &[String], max: usize) -> String {
    let masked = visible(&masker.mask(raw, redact));
    match masked.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &masked[..at]),
        None => masked,
    }
}

/// Text on its way to the page.
#[derive(Debug, Clone, Copy)]
enum Literal<'t> {
    /// A string or key, decoded; shown in quotes.
    Quoted(&'t str),
    /// Anything else, shown as it is.
    Bare(&'t str),
}

impl<'t> Literal<'t> {
    fn cut(self, at: usize) -> Literal<'t> {
        match self {
            Self::Quoted(text) => Self::Quoted(&text[..at]),
            Self::Bare(text) => Self::Bare(&text[..at]),
        }
    }
}

struct Writer<'o> {
    out: &'o mut Rendered,
    show: Show,
}

impl Writer<'_> {
    /// Walks the value beside its masked twin: where they differ, there is a secret.
    fn value(&mut self, node: &Node<'_>, masked: &Node<'_>, depth: usize) {
        match (&node.value, &masked.value) {
            (Value::Object(members), Value::Object(twins)) => {
                self.open('{', members.is_empty());
                for (i, (member, twin)) in members.iter().zip(twins).enumerate() {
                    self.line(depth + 1, i > 0);
                    self.text(Literal::Quoted(&member.key), "k");
                    self.out.html.push_str(": ");
                    self.value(&member.node, &twin.node, depth + 1);
                }
                self.close('}', depth, members.is_empty());
            }
            (Value::Array(elements), Value::Array(twins)) => {
                self.open('[', elements.is_empty());
                for (i, (element, twin)) in elements.iter().zip(twins).enumerate() {
                    self.line(depth + 1, i > 0);
                    self.value(element, twin, depth + 1);
                }
                self.close(']', depth, elements.is_empty());
            }
            _ if node.raw == masked.raw => self.leaf(node),
            _ => self.secret(node, masked, depth),
        }
    }

    fn secret(&mut self, node: &Node<'_>, masked: &Node<'_>, depth: usize) {
        self.out.secrets += 1;
        if self.show.revealed {
            self.out.html.push_str("<span class=\"secret\">");
            self.value(node, node, depth);
            self.out.html.push_str("</span>");
        } else {
            self.out.html.push_str("<span class=\"masked\">");
            self.literal(Literal::Bare(masked.as_str().unwrap_or_default()));
            self.out.html.push_str("</span>");
        }
    }

    fn leaf(&mut self, node: &Node<'_>) {
        match &node.value {
            Value::String(text) => self.text(Literal::Quoted(text), "s"),
            _ => self.text(Literal::Bare(node.raw), "n"),
        }
    }

    /// A scalar or key; folded where it is long.
    fn text(&mut self, literal: Literal<'_>, class: &str) {
        let (Literal::Quoted(text) | Literal::Bare(text)) = literal;
        let length = text.chars().count();
        let _ = write!(self.out.html, "<span class=\"{class}\">");
        if length > FOLD_OVER && !self.show.full {
            self.out.folded += 1;
            let cut = text.char_indices().nth(FOLD_SHOWN).map_or(text.len(), |(at, _)| at);
            self.open_literal(literal.cut(cut));
            let _ = write!(
                self.out.html,
                "</span><span class=\"folded\">… folded, {} characters in all</span>",
                grouped(length)
            );
        } else {
            self.literal(literal);
            self.out.html.push_str("</span>");
        }
        if let Some(sentence) = mixed_script(text) {
            self.out.flags += 1;
            // Its words were made visible when they were named.
            self.out.html.push_str("<span class=\"flag\">");
            push_escaped(&sentence, &mut self.out.html);
            self.out.html.push_str("</span>");
        }
    }

    /// Decoded text as a JSON literal with short escapes: clients that spell every letter of a
    /// language as `\uXXXX` would otherwise send what nobody can read.
    fn literal(&mut self, literal: Literal<'_>) {
        self.open_literal(literal);
        if matches!(literal, Literal::Quoted(_)) {
            self.out.html.push_str("&quot;");
        }
    }

    /// The same without the closing quote, for text that goes on.
    fn open_literal(&mut self, literal: Literal<'_>) {
        let (text, quoted) = match literal {
            Literal::Quoted(text) => (text, true),
            Literal::Bare(text) => (text, false),
        };
        if quoted {
            self.out.html.push_str("&quot;");
        }
        let mut eye = Eye::default();
        for c in text.chars() {
            let plain = eye.sees(c);
            match c {
                '"' if quoted => self.out.html.push_str("\\&quot;"),
                '\\' if quoted => self.out.html.push_str("\\\\"),
                '\n' if quoted => self.out.html.push_str("\\n"),
                '\r' if quoted => self.out.html.push_str("\\r"),
                '\t' if quoted => self.out.html.push_str("\\t"),
                c if plain => push_escaped_char(c, &mut self.out.html),
                c => {
                    self.out.flags += 1;
                    let _ = write!(self.out.html, "<b class=\"odd\">{}</b>", spelled_out(c));
                }
            }
        }
    }

    fn open(&mut self, bracket: char, empty: bool) {
        self.out.html.push(bracket);
        if empty {
            self.out.html.push(if bracket == '{' { '}' } else { ']' });
        }
    }

    fn close(&mut self, bracket: char, depth: usize, empty: bool) {
        if !empty {
            self.line(depth, false);
            self.out.html.push(bracket);
        }
    }

    fn line(&mut self, depth: usize, comma: bool) {
        if comma {
            self.out.html.push(',');
        }
        self.out.html.push('\n');
        for _ in 0..depth {
            self.out.html.push_str("  ");
        }
    }
}

fn push_escaped(text: &str, html: &mut String) {
    for c in text.chars() {
        push_escaped_char(c, html);
    }
}

fn push_escaped_char(c: char, html: &mut String) {
    match c {
        '&' => html.push_str("&amp;"),
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '"' => html.push_str("&quot;"),
        '\'' => html.push_str("&#39;"),
        c => html.push(c),
    }
}

/// `5231` as `5,231`.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Show = Show { full: false, revealed: false };

    fn shown(raw: &str, show: Show) -> Rendered {
        render(raw, &Masker::new(&["password".to_owned()], b"k"), &[], show)
    }

    #[test]
    fn values_stay_as_sent_and_can_not_become_markup() {
        let rendered = shown(r#"{"n":1.00,"t":"<b>\u0041\"","e":[],"o":{}}"#, PLAIN);

        assert_eq!(
            rendered.html,
            "{\n  <span class=\"k\">&quot;n&quot;</span>: <span class=\"n\">1.00</span>,\
             \n  <span class=\"k\">&quot;t&quot;</span>: \
             <span class=\"s\">&quot;&lt;b&gt;A\\&quot;&quot;</span>,\
             \n  <span class=\"k\">&quot;e&quot;</span>: [],\
             \n  <span class=\"k\">&quot;o&quot;</span>: {}\n}"
        );
        assert_eq!((rendered.folded, rendered.secrets, rendered.flags), (0, 0, 0));
    }

    #[test]
    fn invisible_characters_are_spelled_out_and_flagged() {
        let rendered = shown("{\"f\":\"a\u{202e}txt.exe\u{200b}\"}", PLAIN);

        assert!(rendered.html.contains("<b class=\"odd\">"));
        assert!(!rendered.html.contains('\u{202e}') && !rendered.html.contains('\u{200b}'));
        assert_eq!(rendered.flags, 2);
    }

    #[test]
    fn words_of_two_scripts_are_flagged() {
        assert_eq!(shown(r#"{"host":"ex\u0430mple"}"#, PLAIN).flags, 1);
    }

    #[test]
    fn long_values_fold_with_their_length_and_unfold() {
        let raw = format!("{{\"t\":\"{}\",\"u\":\"{}\"}}", "x".repeat(2_001), "y".repeat(2_000));

        let folded = shown(&raw, PLAIN);
        let full = shown(&raw, Show { full: true, ..PLAIN });

        assert_eq!(folded.folded, 1);
        assert!(folded.html.contains("folded, 2,001 characters in all"));
        assert!(folded.html.contains(&"y".repeat(2_000)));
        assert_eq!(full.folded, 0);
        assert!(full.html.contains(&"x".repeat(2_001)));
    }

    #[test]
    fn secrets_are_masked_until_they_are_revealed() {
        let raw = r#"{"db":{"password":"hunter2","user":"‹masked, 7 characters, 00000000›"}}"#;

        let masked = shown(raw, PLAIN);
        let revealed = shown(raw, Show { revealed: true, ..PLAIN });

        assert!(masked.html.contains("<span class=\"masked\">‹masked, 7 characters, "));
        assert!(!masked.html.contains("hunter2"));
        // A text that only looks like a mask is shown as it is.
        assert_eq!(masked.secrets, 1);
        assert!(revealed.html.contains("hunter2") && revealed.secrets == 1);
    }

    #[test]
    fn raw_json_keeps_its_bytes_but_for_what_is_masked_or_not_seen() {
        let text = "{ \"n\":1.00,\n\"f\":\"<a\u{202e}b\u{e0041}\", \"password\":\"hunter2\"}";
        let masker = Masker::new(&["password".to_owned()], b"k");

        let masked = raw(text, &masker, &[], PLAIN);
        let revealed = raw(text, &masker, &[], Show { revealed: true, ..PLAIN });

        assert!(!masked.contains("hunter2") && masked.contains("‹masked, 7 characters, "));
        assert_eq!(
            revealed,
            "{ &quot;n&quot;:1.00,\n&quot;f&quot;:&quot;&lt;a<b class=\"odd\">\\u202e</b>b\
             <b class=\"odd\">\\udb40\\udc41</b>&quot;, &quot;password&quot;:&quot;hunter2&quot;}"
        );
    }

    #[test]
    fn lists_show_one_masked_line_of_bounded_length() {
        let masker = Masker::new(&["password".to_owned()], b"k");

        assert_eq!(one_line(r#"{"a":"bcd"}"#, &masker, &[], 5), "{\"a\":…");
        assert!(!one_line(r#"{"password":"x"}"#, &masker, &[], 99).contains("\"x\""));
    }

    #[test]
    fn numbers_are_grouped_for_reading() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
