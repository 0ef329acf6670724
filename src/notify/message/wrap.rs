//! The text part's lines, none wider than mail programs show whole.

/// Widest line of a text part, characters; only a link may be longer. After
/// <https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1>.
pub(super) const COLUMNS: usize = 78;

/// Deepest indentation, in columns, that is kept in a line that is broken.
const MAX_INDENT: usize = 40;

/// The text with long lines broken, at spaces where there are any. What goes on is indented under
/// what it belongs to. Values can't be changed by it: a line break in a value is spelled out.
pub(super) fn wrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32);
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        if line.chars().count() <= COLUMNS {
            out.push_str(line);
        } else {
            wrap(line, &mut out);
        }
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

fn wrap(line: &str, out: &mut String) {
    let words = line.trim_start_matches(' ');
    let own = (line.len() - words.len()).min(MAX_INDENT);
    let indent = " ".repeat(own + hanging(words));
    let mut width = own;
    out.push_str(&" ".repeat(own));
    let mut fresh = true;
    for word in words.split(' ') {
        let long = word.chars().count();
        if !fresh && width + 1 + long <= COLUMNS {
            out.push(' ');
            out.push_str(word);
            width += 1 + long;
            continue;
        }
        if !fresh {
            out.push('\n');
            out.push_str(&indent);
            width = indent.len();
        }
        fresh = false;
        if is_link(word) {
            out.push_str(word);
            width += long;
            continue;
        }
        for c in word.chars() {
            if width == COLUMNS {
                out.push('\n');
                out.push_str(&indent);
                width = indent.len();
            }
            out.push(c);
            width += 1;
        }
    }
}

/// How far what goes on stands under its line: beside a label, after a sign, inside a value.
fn hanging(line: &str) -> usize {
    const LABEL: usize = 14;
    let label = line.char_indices().nth(LABEL - 1).map(|(at, _)| &line[..at]);
    if label.is_some_and(|l| l.trim_end().ends_with(':') && l.is_ascii() && !l.starts_with('"')) {
        LABEL
    } else if line.starts_with("- ") || line.starts_with("! ") || line.starts_with('"') {
        2
    } else {
        0
    }
}

fn is_link(word: &str) -> bool {
    word.starts_with("https://") || word.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_spaces_and_hang_under_their_label() {
        let words = "word ".repeat(20);
        let text = wrapped(&format!("Rule:         {words}\n- {words}\nshort\n\n-- \n{words}"));

        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|l| l.chars().count() <= COLUMNS), "{text}");
        assert!(lines[1].starts_with("              word"), "{text}");
        assert!(text.contains("\n- word") && text.contains("\n  word") && text.contains("\n-- \n"));
    }

    #[test]
    fn words_without_spaces_break_anywhere_and_links_nowhere() {
        let link = format!("https://placet.example/{}", "x".repeat(100));
        let text = wrapped(&format!("  \"k\": \"{}\"\nSettle it: {link}", "ä".repeat(200)));

        assert!(text.ends_with(&format!("Settle it:\n{link}")), "{text}");
        let wide = text.lines().filter(|l| l.chars().count() > COLUMNS).count();
        assert_eq!(wide, 1);
        assert_eq!(text.matches('ä').count(), 200);
        assert_eq!(wrapped(&format!("{}[", " ".repeat(120))), format!("{}[", " ".repeat(40)));
    }
}
