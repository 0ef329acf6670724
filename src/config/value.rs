//! Reads single values: sizes, names, `${NAME}`; and says what is near a wrong word.
//! Errors say what is expected and never repeat the value, for it may be a secret.

use toml::Value;

use super::problem::MAX_SHOWN;

/// Largest size that can be configured, bytes: 1 GiB.
pub(crate) const MAX_SIZE: usize = 1 << 30;

/// Longest name of an agent, reviewer or notifier, in characters.
pub(crate) const MAX_NAME: usize = 64;

/// Prefix of the names of guests: people who may sign in to read and are no reviewers.
pub(crate) const GUEST: &str = "guest:";

/// Longest name of an upstream, in bytes (all of them ASCII).
pub(crate) const MAX_UPSTREAM_NAME: usize = 32;

/// How similar a word must be to be suggested: Jaro–Winkler, from 0 to 1 (equal).
const NEAR: f64 = 0.8;

/// Reads a size in bytes, from 1 to [`MAX_SIZE`]: a plain number, or one with a unit (`256KiB`,
/// `4MiB`, `1GiB`).
///
/// # Errors
/// A sentence that says what is expected.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    if number.is_empty() || scale == 0 {
        return Err("expected a size in bytes or with a unit, as in 65536, 256KiB, 4MiB".into());
    }
    number
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .filter(|bytes| (1..=MAX_SIZE).contains(bytes))
        .ok_or_else(|| "must be from 1 byte to 1GiB".to_owned())
}

/// The name of an upstream: `[a-z0-9][a-z0-9-]{0,31}`.
///
/// # Errors
/// A sentence that says what is expected, where the text is not such a name.
pub(crate) fn upstream_name(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if text.len() <= MAX_UPSTREAM_NAME
        && text.bytes().next().is_some_and(fits)
        && text.bytes().all(|b| fits(b) || b == b'-')
    {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected 1 to {MAX_UPSTREAM_NAME} lower-case letters, digits and hyphens, not beginning \
         with a hyphen"
    ))
}

/// Reads the name of an agent, reviewer or notifier.
///
/// # Errors
/// A sentence that says what is expected: the name is empty or longer than [`MAX_NAME`], has space
/// around it or control characters in it, or begins as a group or guest does.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.chars().count() > MAX_NAME {
        return Err(format!("expected 1 to {MAX_NAME} characters without space around them"));
    }
    if text.chars().any(char::is_control) || text.starts_with("group:") || text.starts_with(GUEST) {
        let message = "must not hold control characters or begin with group: or guest:";
        return Err(message.to_owned());
    }
    Ok(text.to_owned())
}

/// Whether this can be the name of an environment variable.
pub(crate) fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Replaces `${NAME}`; `$${NAME}` stands for `${NAME}` itself.
///
/// # Errors
/// A sentence: `${` is not followed by a name and `}`, or the variable is not set.
pub(crate) fn expand<'v>(
    text: &str,
    variable: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start - 1]);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let name =
            inside.split_once('}').map(|(name, _)| name).filter(|name| is_variable(name)).ok_or(
                "${ must be followed by the name of a variable and }; write $${ for itself",
            )?;
        let value = variable(name).ok_or_else(|| {
            format!("${{{name}}}: the environment variable {name} is not set; set it")
        })?;
        out.push_str(value);
        rest = &inside[name.len() + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// `; did you mean X?` where a known word is near, else nothing.
pub(crate) fn suggestion<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> String {
    known
        .map(|k| (strsim::jaro_winkler(word, k), k))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, k)| format!("; did you mean {k}?"))
}

/// What kind of TOML value it is, in words for people.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A value for a problem: one line, bounded, without control characters.
pub(crate) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    let mut out: String = text.chars().take(MAX_SHOWN).filter(|c| !c.is_control()).collect();
    if text.chars().count() > MAX_SHOWN {
        out.push('…');
    }
    out
}

/// The path without its indexes: `upstreams[0].url` becomes `upstreams[].url`.
pub(crate) fn without_indexes(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            inside = match c {
                '[' => true,
                ']' => false,
                _ => inside,
            };
            !inside || *c == '['
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_binary_units_up_to_the_named_limit() {
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("256KiB"), Ok(262_144));
        assert_eq!(size("4MiB"), Ok(4_194_304));
        assert_eq!(size("1GiB"), Ok(MAX_SIZE));
        for wrong in ["", "0", "4MB", "4 MiB", "1.5MiB", "KiB", "2GiB", "-1"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_keep_to_their_limits() {
        assert!(upstream_name(&"a".repeat(MAX_UPSTREAM_NAME)).is_ok());
        assert!(upstream_name(&"a".repeat(MAX_UPSTREAM_NAME + 1)).is_err());
        assert!(upstream_name("-a").is_err() && upstream_name("A").is_err());
        assert!(name(&"é".repeat(MAX_NAME)).is_ok() && name(&"é".repeat(MAX_NAME + 1)).is_err());
        assert!(name("group:a").is_err() && name("guest:a").is_err());
        assert!(name(" a").is_err() && name("").is_err());
    }

    #[test]
    fn variables_are_replaced_and_unset_ones_named() {
        let variable = |name: &str| (name == "A").then_some("x${B}");

        assert_eq!(expand("<${A}> $A $", variable).unwrap(), "<x${B}> $A $");
        assert_eq!(expand("$${A}", variable).unwrap(), "${A}");
        assert!(expand("${B}", variable).unwrap_err().contains("variable B is not set"));
        assert!(expand("${", variable).is_err() && expand("${a b}", variable).is_err());
    }

    #[test]
    fn shown_values_are_bounded() {
        assert_eq!(shown(&Value::String("a\n".into())), "\"a\\n\"");
        assert_eq!(shown(&Value::String("x".repeat(500))).chars().count(), MAX_SHOWN + 1);
    }
}
