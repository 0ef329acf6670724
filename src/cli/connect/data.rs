//! What a client's configuration says, in the order it is written, as JSON or TOML.

use toml_edit::{Array, InlineTable, Item, Table};

use crate::domain::json;

/// A value of a client's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A boolean.
    Flag(bool),
    /// A list of values.
    List(Vec<Data>),
    /// Named values, in the order they are written.
    Map(Vec<(&'static str, Data)>),
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Data {
    /// As JSON over several lines, whose later lines begin with `indent`; `step` is one more level.
    pub(super) fn pretty(&self, indent: &str, step: &str) -> String {
        let inner = format!("{indent}{step}");
        let parts = |parts: Vec<String>, open: char, close: char| {
            if parts.is_empty() {
                return format!("{open}{close}");
            }
            let lines: Vec<String> = parts.iter().map(|p| format!("\n{inner}{p}")).collect();
            format!("{open}{}\n{indent}{close}", lines.join(","))
        };
        match self {
            Self::List(all) if all.iter().all(|v| !matches!(v, Self::List(_) | Self::Map(_))) => {
                self.compact()
            }
            Self::List(all) => {
                parts(all.iter().map(|v| v.pretty(&inner, step)).collect(), '[', ']')
            }
            Self::Map(all) => {
                let member = |(key, v): &(&str, Self)| {
                    format!("{}: {}", json::quote(key), v.pretty(&inner, step))
                };
                parts(all.iter().map(member).collect(), '{', '}')
            }
            Self::Text(_) | Self::Number(_) | Self::Flag(_) => self.compact(),
        }
    }

    /// As JSON on one line.
    pub(super) fn compact(&self) -> String {
        match self {
            Self::Text(text) => json::quote(text),
            Self::Number(n) => n.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(all) => {
                let all: Vec<String> = all.iter().map(Self::compact).collect();
                format!("[{}]", all.join(", "))
            }
            Self::Map(all) => {
                let all: Vec<String> = all
                    .iter()
                    .map(|(key, v)| format!("{}: {}", json::quote(key), v.compact()))
                    .collect();
                format!("{{{}}}", all.join(", "))
            }
        }
    }

    /// As a TOML table; a value that is not a map becomes an empty one.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        if let Self::Map(members) = self {
            for (key, v) in members {
                table.insert(key, Item::Value(v.toml()));
            }
        }
        table
    }

    fn toml(&self) -> toml_edit::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(n) => (*n).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::List(all) => all.iter().map(Self::toml).collect::<Array>().into(),
            Self::Map(all) => {
                let mut table = InlineTable::new();
                for (key, v) in all {
                    table.insert(*key, v.toml());
                }
                table.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_written_in_its_own_order() {
        let data = Data::Map(vec![
            ("type", "http".into()),
            ("headers", Data::Map(vec![("Authorization", "Bearer \"x\"".into())])),
            ("args", Data::List(vec!["a".into(), Data::Number(7)])),
            ("empty", Data::Map(Vec::new())),
        ]);

        assert_eq!(
            data.pretty("", "  "),
            "{\n  \"type\": \"http\",\n  \"headers\": {\n    \"Authorization\": \"Bearer \\\"x\\\"\"\n  },\n  \
             \"args\": [\"a\", 7],\n  \"empty\": {}\n}"
        );
        assert_eq!(
            data.table().to_string(),
            "type = \"http\"\nheaders = { Authorization = 'Bearer \"x\"' }\nargs = [\"a\", 7]\nempty = {}\n"
        );
    }
}
