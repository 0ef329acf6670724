//! URI templates (RFC 6570), as far as it takes to tell which URIs a completion leads to.

/// Stands for the value of a variable that is not known; only a `*` of a pattern fits it.
const HOLE: char = '\u{1}';

/// A template: text and expressions.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    /// What stands before the first value and between values, whether values are named, and the
    /// variables.
    Expression {
        first: &'static str,
        between: &'static str,
        named: bool,
        variables: Vec<String>,
    },
}

impl Template {
    /// None where braces don't match or are nested.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(open);
            let inner = from.strip_prefix('{')?;
            let (inner, after) = inner.split_once('}')?;
            if inner.contains('{') {
                return None;
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(expression(inner));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Some(Self(parts))
    }

    /// The URI with these values, as they are: the policy looks through percent-encoding.
    pub(super) fn expand(&self, values: &[(&str, &str)]) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression { first, between, named, variables } => {
                    for (i, variable) in variables.iter().enumerate() {
                        out.push_str(if i == 0 { first } else { between });
                        if *named {
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
}

fn expression(inner: &str) -> Part {
    let (first, between, named) = match inner.chars().next() {
        Some('#') => ("#", ",", false),
        Some('.') => (".", ".", false),
        Some('/') => ("/", "/", false),
        Some(';') => (";", ";", true),
        Some('?') => ("?", "&", true),
        Some('&') => ("&", "&", true),
        _ => ("", ",", false),
    };
    let names = inner.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
    let bare = |name: &str| {
        let name = name.trim_end_matches('*');
        name.split_once(':').map_or(name, |(name, _)| name).to_owned()
    };
    Part::Expression { first, between, named, variables: names.split(',').map(bare).collect() }
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
    fn what_is_no_template_is_none() {
        for text in ["{a", "a}", "{a{b}}", "}{"] {
            assert!(Template::read(text).is_none(), "{text}");
        }
    }
}
