//! A text that was checked, to be looked at again without being checked again.

use std::ops::Deref;
use std::sync::Arc;

use super::{JsonError, Node, parse, parse_own};

/// One JSON text, checked and shared: whoever looks at what it says need not check it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Arc<str>);

impl Text {
    /// Checks a text.
    ///
    /// # Errors
    /// [`JsonError`] says what was refused and where.
    pub fn read(text: impl Into<Arc<str>>) -> Result<Self, JsonError> {
        let text = text.into();
        let value = parse(&text)?;
        if value.raw.len() < text.len() {
            return Ok(Self::of(&value));
        }
        drop(value);
        Ok(Self(text))
    }

    /// The text of a value, which was checked with what it was read from.
    pub fn of(value: &Node<'_>) -> Self {
        Self(value.raw.into())
    }

    /// A text that this program wrote around values it had checked.
    pub(crate) fn own(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        debug_assert!(parse_own(&text).is_ok_and(|value| value.raw.len() == text.len()), "{text}");
        Self(text)
    }

    /// What it says.
    pub fn node(&self) -> Node<'_> {
        Node::of(&self.0)
    }

    /// The text itself, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;

    #[test]
    fn a_text_that_was_checked_says_what_it_said() {
        let source = r#"{"params": {"a":[1.0, "b\u0021"]} }"#;
        let params = json::parse(source).unwrap();
        let text = Text::of(params.get("params").unwrap());

        assert_eq!(&*text, r#"{"a":[1.0, "b\u0021"]}"#);
        assert_eq!(text.node(), json::parse(&text).unwrap());
        assert_eq!(text, Text::read(" {\"a\":[1.0, \"b\\u0021\"]}\n").unwrap());
        assert!(Text::read("{").is_err());
    }
}
