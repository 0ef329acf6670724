//! URI templates (RFC 6570) as patterns: could this URI have been made of that template?

use regex::Regex;

/// Longest template that is read as a pattern, bytes; a longer one matches nothing.
const MAX_TEMPLATE: usize = 2048;
/// Longest URI that is compared otherwise than byte by byte; a longer one fits nothing.
pub(super) const MAX_URI: usize = 8192;

/// A template that URIs are compared with.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    shape: Option<Shape>,
}

#[derive(Debug, Clone)]
struct Shape {
    /// Without the names of its variables.
    pattern: String,
    regex: Regex,
}

impl Pattern {
    /// Reads one; what is no template matches nothing.
    pub(super) fn new(text: &str) -> Self {
        let shape = (text.len() <= MAX_TEMPLATE).then(|| pattern(text)).flatten();
        let shape = shape.and_then(|pattern| {
            let regex = Regex::new(&pattern).ok()?;
            Some(Shape { pattern, regex })
        });
        Self { text: text.to_owned(), shape }
    }

    /// As it was listed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the URI may be of this template.
    pub(super) fn fits(&self, uri: &str) -> bool {
        uri.len() <= MAX_URI && self.shape.as_ref().is_some_and(|s| s.regex.is_match(uri))
    }

    /// Whether both are made of the same URIs, whatever their variables are called.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (&self.shape, &other.shape) {
            (Some(a), Some(b)) => a.pattern == b.pattern,
            _ => self.text == other.text,
        }
    }
}

fn pattern(template: &str) -> Option<String> {
    let mut out = String::from("^");
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        out.push_str(&regex::escape(literal));
        let (expression, after) = after.split_once('}')?;
        out.push_str(match expression.chars().next()? {
            '+' | '#' => ".*",
            '/' => "(?:/[^/?#]*)*",
            '.' => "(?:\\.[^/?#.]*)*",
            ';' => "(?:;[^/?#;]*)*",
            '?' | '&' => "(?:[?&][^#]*)?",
            _ => "[^/?#]*",
        });
        rest = after;
    }
    out.push_str(&regex::escape(rest));
    out.push('$');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_fits_the_template_it_was_made_of() {
        for (template, uri, fits) in [
            ("test://template/{id}/data", "test://template/7/data", true),
            ("test://template/{id}/data", "test://template/7/8/data", false),
            ("file:///{+path}", "file:///a/b/c", true),
            ("file://{/path*}", "file:///a/b/c", true),
            ("db://{table}{?limit,offset}", "db://users?limit=3", true),
            ("db://{table}{?limit,offset}", "db://users", true),
            ("db://{table}", "db://users?limit=3", false),
            ("a.b:{x}", "aXb:1", false),
            ("a:{x", "a:1", false),
        ] {
            assert_eq!(Pattern::new(template).fits(uri), fits, "{template} {uri}");
        }
        let long = format!("a:{}{{x}}", "b".repeat(MAX_TEMPLATE));
        assert!(!Pattern::new(&long).fits(&long));
        assert!(!Pattern::new("a:{x}").fits(&format!("a:{}", "b".repeat(MAX_URI))));
    }

    #[test]
    fn names_of_variables_do_not_tell_templates_apart() {
        assert!(Pattern::new("a:{x}").is_like(&Pattern::new("a:{y}")));
        assert!(!Pattern::new("a:{x}").is_like(&Pattern::new("a:{+x}")));
    }
}
