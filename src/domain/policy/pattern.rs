//! Names with wildcards: `purge_*`. `*` fits any run of characters, `/` included; `?` and `[ab]`
//! fit one ASCII character; `{a,b}` either. Upper and lower case differ.

use globset::{GlobBuilder, GlobMatcher};

/// Most bytes of one glob.
pub const MAX_GLOB: usize = 256;

/// A name, or a glob over names.
#[derive(Debug, Clone)]
pub(in crate::domain) struct Pattern {
    pub(super) text: String,
    /// Bytes at its beginning that stand for themselves.
    literal: usize,
    /// Where its only special character stands, if that is a `*`.
    star: Option<usize>,
    matcher: GlobMatcher,
}

impl Pattern {
    /// Reads a glob.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(in crate::domain) fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty; write a name or a glob such as \"purge_*\"".to_owned());
        }
        if text.len() > MAX_GLOB {
            return Err(format!("is a glob of more than {MAX_GLOB} bytes; shorten it"));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(false)
            .backslash_escape(true)
            .build()
            .map_err(|e| {
            format!("{text:?} is not a glob ({}); mend it or escape with \\", e.kind())
        })?;
        let literal = text.find(SPECIAL).unwrap_or(text.len());
        let rest = text[literal..].strip_prefix('*');
        let star = rest.filter(|rest| !rest.contains(SPECIAL)).map(|_| literal);
        Ok(Self { text: text.to_owned(), literal, star, matcher: glob.compile_matcher() })
    }

    /// Whether it fits the name; a name always fits itself.
    pub(in crate::domain) fn fits(&self, name: &str) -> bool {
        // Most rules are about other tools, which the first letters say: the matcher is ten times as slow.
        if !name.starts_with(&self.text[..self.literal]) {
            return self.text == name;
        }
        match self.star {
            Some(star) => {
                name.len() + 1 >= self.text.len() && name.ends_with(&self.text[star + 1..])
            }
            None => self.text == name || self.matcher.is_match(name),
        }
    }

    /// Whether it certainly fits every name that `other` fits. It may miss a case, but never says
    /// yes wrongly.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.text == "*"
            || self.text == other.text
            || (!is_glob(&other.text) && self.fits(&other.text))
    }
}

/// The characters that begin something special in a glob.
const SPECIAL: [char; 5] = ['*', '?', '[', '{', '\\'];

/// Whether it holds a character that is special in a glob.
pub(in crate::domain) fn is_glob(text: &str) -> bool {
    text.contains(SPECIAL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(glob: &str, name: &str) -> bool {
        Pattern::read(glob).unwrap().fits(name)
    }

    #[test]
    fn wildcards_fit_whole_names_only() {
        assert!(fits("purge_*", "purge_all"));
        assert!(fits("purge_*", "purge_"));
        assert!(fits("*", "a/b.c-d\n"));
        assert!(fits("{get,list}_?", "list_1"));
        assert!(fits("a.b", "a.b"));
        assert!(!fits("a.b", "axb"));
        assert!(!fits("purge_*", "not_purge_all"));
        assert!(!fits("purge_*", "Purge_all"));
        assert!(!fits("purge", "purge_all"));
    }

    proptest! {
        #[test]
        fn the_short_ways_say_what_the_matcher_says(
            glob in "[ab*?{},/\\[\\]\\\\]{1,6}",
            name in "[ab*?{},/\n\\[\\]\\\\]{0,6}",
        ) {
            if let Ok(pattern) = Pattern::read(&glob) {
                let slow = pattern.text == name || pattern.matcher.is_match(&name);
                prop_assert_eq!(pattern.fits(&name), slow, "{:?} {:?}", glob, name);
            }
        }
    }

    #[test]
    fn globs_that_cannot_be_read_say_why() {
        for text in ["", "[a", "{a", "a\\"] {
            assert!(Pattern::read(text).is_err(), "{text}");
        }
        assert!(Pattern::read("[a").unwrap_err().contains("\"[a\" is not a glob"));
    }

    #[test]
    fn globs_are_bounded_at_the_named_limit() {
        assert!(Pattern::read(&"a".repeat(MAX_GLOB)).is_ok());
        assert!(Pattern::read(&"a".repeat(MAX_GLOB + 1)).is_err());
    }

    #[test]
    fn one_pattern_covers_another_only_when_that_is_certain() {
        let covers = |a, b| Pattern::read(a).unwrap().covers(&Pattern::read(b).unwrap());

        assert!(covers("*", "purge_*"));
        assert!(covers("purge_*", "purge_all"));
        assert!(covers("purge_*", "purge_*"));
        assert!(!covers("purge_*", "*"));
        assert!(!covers("purge_all", "purge_*"));
    }
}
