//! Keys as readers compare them that don't mind case.

/// The key with its case folded: equal for two keys wherever a common reader that ignores case takes
/// one for the other, be it by Unicode's simple folding
/// (<https://www.unicode.org/Public/UCD/latest/ucd/CaseFolding.txt>), by upper case or by lower case.
/// It may say so of more keys than any one reader does.
pub fn fold_case(key: &str) -> String {
    if key.is_ascii() {
        return key.to_ascii_lowercase();
    }
    let mut out = String::with_capacity(key.len());
    for c in key.chars() {
        // Its simple lower case is the plain letter; the full one has a dot as a character of its own.
        let c = if c == '\u{130}' { 'i' } else { c };
        let upper = c.to_lowercase().flat_map(char::to_uppercase);
        out.extend(upper.flat_map(char::to_lowercase));
    }
    out
}

/// Whether two different keys are the same to a reader that ignores case.
pub fn differ_by_case(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other) && one != other;
    }
    one != other && fold_case(one) == fold_case(other)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn keys_that_differ_by_case_only_are_found_beyond_ascii_too() {
        for (one, other) in [
            ("store", "Store"),
            ("store", "\u{17f}tore"),
            ("key", "\u{212a}ey"),
            ("é", "É"),
            ("σ", "ς"),
            ("\u{b5}", "μ"),
            ("ǆ", "ǅ"),
            ("straße", "STRAẞE"),
            ("i", "İ"),
            ("ı", "I"),
        ] {
            assert!(differ_by_case(one, other) && differ_by_case(other, one), "{one} {other}");
        }
        for (one, other) in [("store", "store"), ("é", "é"), ("store", "stores"), ("e", "é")] {
            assert!(!differ_by_case(one, other), "{one} {other}");
        }
    }

    /// The regular expressions of this program fold by Unicode's own table.
    #[test]
    fn whatever_unicode_folds_together_is_folded_together() {
        let cased = |c: &char| c.to_lowercase().ne([*c]) || c.to_uppercase().ne([*c]);
        let all: String = ('\0'..=char::MAX).filter(cased).collect();
        let of = |c: char| fold_case(&c.to_string());

        for c in all.chars() {
            let same = Regex::new(&format!("(?i)\\x{{{:x}}}", u32::from(c))).unwrap();
            for found in same.find_iter(&all) {
                let other = found.as_str().chars().next().unwrap();
                assert_eq!(of(c), of(other), "{c} {other}");
            }
        }
    }
}
