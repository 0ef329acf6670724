//! URI templates (RFC 6570), both ways: the URI that a template makes of values, and whether a URI
//! could have been made of a template.
//!
//! <https://www.rfc-editor.org/rfc/rfc6570>

use regex::Regex;

/// Stands for the value of a variable that is not known; only a `*` of a pattern fits it.
const HOLE: char = '\u{1}';
/// Longest template that is read as a pattern, bytes; a longer one matches nothing.
const MAX_TEMPLATE: usize = 2048;
/// Longest URI, bytes, that is compared otherwise than byte by byte; a longer one fits nothing.
pub(crate) const MAX_URI: usize = 8192;

/// A template: text and expressions.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Expression { operator: &'static Operator, variables: Vec<String> },
}

/// What the first character of an expression makes of it
/// (<https://www.rfc-editor.org/rfc/rfc6570#appendix-A>).
#[derive(Debug)]
struct Operator {
    sign: char,
    /// Stands before the first value.
    first: &'static str,
    /// Stands between values.
    between: &'static str,
    /// Whether values are named.
    named: bool,
    /// What the expression may become, as a regular expression.
    fits: &'static str,
}

const fn operator(
    sign: char,
    first: &'static str,
    between: &'static str,
    named: bool,
    fits: &'static str,
) -> Operator {
    Operator { sign, first, between, named, fits }
}

static PLAIN: Operator = operator('\0', "", ",", false, "[^/?#]*");
static OPERATORS: [Operator; 7] = [
    operator('+', "", ",", false, ".*"),
    operator('#', "#", ",", false, ".*"),
    operator('.', ".", ".", false, "(?:\\.[^/?#.]*)*"),
    operator('/', "/", "/", false, "(?:/[^/?#]*)*"),
    operator(';', ";", ";", true, "(?:;[^/?#;]*)*"),
    operator('?', "?", "&", true, "(?:[?&][^#]*)?"),
    operator('&', "&", "&", true, "(?:[?&][^#]*)?"),
];

impl Template {
    /// Reads a template; none where braces don't match, are nested or have nothing between them.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(brace);
            let (inner, after) = from.strip_prefix('{')?.split_once('}')?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(expression(inner)?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Some(Self(parts))
    }

    /// The URI with these values, as they are: the policy looks through percent-encoding.
    pub(crate) fn expand(&self, values: &[(&str, &str)]) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression { operator, variables } => {
                    for (i, variable) in variables.iter().enumerate() {
                        out.push_str(if i == 0 { operator.first } else { operator.between });
                        if operator.named {
                            out.push_str(variable);
                            out.push('=');
                        }
                        match values.iter().find(|(name, _)| name == variable) {
                            Some((_, value)) => out.push_str(value),
                            None => out.push(HOLE),
                        }
                    }
                }
            }
        }
        out
    }

    /// A regular expression of the URIs that it makes.
    fn shape(&self) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => regex::escape(text),
            Part::Expression { operator, .. } => operator.fits.to_owned(),
        });
        format!("^{}$", parts.collect::<String>())
    }
}

fn expression(inner: &str) -> Option<Part> {
    if inner.is_empty() || inner.contains('{') {
        return None;
    }
    let operator = OPERATORS.iter().find(|o| inner.starts_with(o.sign)).unwrap_or(&PLAIN);
    let names = inner.trim_start_matches(operator.sign);
    let bare = |name: &str| {
        let name = name.trim_end_matches('*');
        name.split_once(':').map_or(name, |(name, _)| name).to_owned()
    };
    Some(Part::Expression { operator, variables: names.split(',').map(bare).collect() })
}

/// A template that URIs are compared with.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    regex: Option<Regex>,
}

impl Pattern {
    /// Reads a template; a text that is none matches nothing.
    pub(crate) fn new(text: &str) -> Self {
        let template = (text.len() <= MAX_TEMPLATE).then(|| Template::read(text)).flatten();
        let regex = template.and_then(|template| Regex::new(&template.shape()).ok());
        Self { text: text.to_owned(), regex }
    }

    /// The template as it was listed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the URI may be of this template.
    pub(crate) fn fits(&self, uri: &str) -> bool {
        uri.len() <= MAX_URI && self.regex.as_ref().is_some_and(|regex| regex.is_match(uri))
    }

    /// Whether both are made of the same URIs, whatever their variables are called.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (&self.regex, &other.regex) {
            (Some(a), Some(b)) => a.as_str() == b.as_str(),
            _ => self.text == other.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, values: &[(&str, &str)]) -> String {
        Template::read(template).unwrap().expand(values)
    }

    #[test]
    fn every_kind_of_expression_is_expanded() {
        let values = [("a", "1"), ("b", "2/3")];

        assert_eq!(expand("x://h/{a}/{+b}", &values), "x://h/1/2/3");
        assert_eq!(expand("x://h{/a,b}{?a,b}{&a}", &values), "x://h/1/2/3?a=1&b=2/3&a=1");
        assert_eq!(expand("x://h/f{.a}{;a}{#a}", &values), "x://h/f.1;a=1#1");
        assert_eq!(expand("{a:3},{b*}", &values), "1,2/3");
        assert_eq!(expand("x://h/{a}/{c}", &values), "x://h/1/\u{1}");
    }

    #[test]
    fn what_is_no_template_is_none_and_fits_nothing() {
        for text in ["{a", "a}", "{a{b}}", "}{", "a{}"] {
            assert!(Template::read(text).is_none(), "{text}");
            assert!(!Pattern::new(text).fits(text), "{text}");
        }
    }

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
    fn what_a_template_expands_to_fits_it() {
        for template in ["x:{a}", "x:{+a}", "x:{#a}", "x{.a,b}", "x{/a,b}", "x{;a,b}", "x{?a}{&b}"]
        {
            let uri = expand(template, &[("a", "1"), ("b", "2")]);
            assert!(Pattern::new(template).fits(&uri), "{template} {uri}");
        }
    }

    #[test]
    fn names_of_variables_do_not_tell_templates_apart() {
        assert!(Pattern::new("a:{x}").is_like(&Pattern::new("a:{y}")));
        assert!(!Pattern::new("a:{x}").is_like(&Pattern::new("a:{+x}")));
    }
}
