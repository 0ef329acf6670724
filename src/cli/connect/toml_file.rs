//! Adds tables to somebody else's TOML file; comments, order and spacing of the rest stay.

use toml_edit::{DocumentMut, Item, Table};

use super::data::Data;

/// Sets `[parent.name]`; returns the new text and whether something else stood there.
///
/// # Errors
/// The text is not TOML before or after the change, or `parent` is not a table; in words.
pub(super) fn set_table(
    text: &str,
    parent: &str,
    name: &str,
    value: &Data,
) -> Result<(String, bool), String> {
    let mut document = parse(text)?;
    let servers = document.entry(parent).or_insert_with(|| {
        let mut table = Table::new();
        // `[mcp_servers]` by itself would say nothing.
        table.set_implicit(true);
        Item::Table(table)
    });
    let kind = servers.type_name();
    let Some(servers) = servers.as_table_like_mut() else {
        return Err(format!("{parent:?} is of type {kind}, not a table"));
    };
    let new = value.table();
    let old = servers.get(name).map(ToString::to_string);
    let replaced = servers.contains_key(name);
    // Inside an inline table only an inline table may stand.
    let item = if servers.iter().next().is_some_and(|(_, v)| v.is_value()) {
        Item::Value(new.into_inline_table().into())
    } else {
        Item::Table(new)
    };
    if let (Some(slot), Item::Table(new)) =
        (servers.get_mut(name).and_then(Item::as_table_mut), &item)
    {
        if old.as_deref().map(str::trim) == Some(new.to_string().trim()) {
            return Ok((text.to_owned(), false));
        }
        // In its place, with the comments before it.
        let (decor, position) = (slot.decor().clone(), slot.position());
        *slot = new.clone();
        *slot.decor_mut() = decor;
        slot.set_position(position);
    } else {
        servers.insert(name, item);
    }
    let text = document.to_string();
    // What is written must be readable, whatever stood there.
    parse(&text)?;
    Ok((text, replaced))
}

/// Names of the tables in `parent` besides those given.
pub(super) fn other_tables(text: &str, parent: &str, own: &[&str]) -> Vec<String> {
    let Ok(document) = parse(text) else { return Vec::new() };
    let Some(servers) = document.get(parent).and_then(Item::as_table_like) else {
        return Vec::new();
    };
    let names = servers.iter().map(|(name, _)| name);
    names.filter(|name| !own.contains(name)).map(ToOwned::to_owned).collect()
}

fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse::<DocumentMut>().map_err(|error| {
        let message = error.message().to_owned();
        match error.span() {
            Some(span) => {
                let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                format!("not TOML: {message} in line {line}")
            }
            None => format!("not TOML: {message}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Data {
        Data::Map(vec![("url", "http://h/mcp".into()), ("tool_timeout_sec", Data::Number(60))])
    }

    #[test]
    fn a_table_is_added_and_comments_stay() {
        let before = "# mine\nmodel = \"m\" # yes\n\n[mcp_servers.other]\ncommand = \"x\"\n# end\n";

        let (after, replaced) = set_table(before, "mcp_servers", "placet", &server()).unwrap();

        assert!(!replaced);
        assert!(after.contains("# mine\nmodel = \"m\" # yes\n") && after.contains("# end"));
        assert!(
            after.contains("[mcp_servers.placet]\nurl = \"http://h/mcp\"\ntool_timeout_sec = 60\n")
        );
        assert_eq!(other_tables(&after, "mcp_servers", &["placet"]), ["other"]);
        assert!(!after.contains("[mcp_servers]\n"));
    }

    #[test]
    fn a_table_of_the_same_name_is_replaced_in_its_place() {
        let before = "# keep\n[mcp_servers.placet]\nurl = \"old\"\nstray = 1\n\n[tail]\nx = 1\n";

        let (after, replaced) = set_table(before, "mcp_servers", "placet", &server()).unwrap();
        let (again, twice) = set_table(&after, "mcp_servers", "placet", &server()).unwrap();

        assert!(replaced && !twice);
        assert_eq!(again, after);
        assert!(
            after.starts_with("# keep\n[mcp_servers.placet]\nurl = \"http://h/mcp\"\n"),
            "{after}"
        );
        assert!(!after.contains("stray") && after.ends_with("[tail]\nx = 1\n"), "{after}");
    }

    #[test]
    fn inline_tables_and_dotted_keys_stay_readable() {
        for before in [
            "",
            "mcp_servers = {}\n",
            "mcp_servers = { a = { command = \"x\" } }\n",
            "mcp_servers.a.command = \"x\"\n",
            "[mcp_servers]\n",
            "[mcp_servers.\"placet\"]\nurl = 1\n[mcp_servers.placet.env]\nA = \"b\"\n",
        ] {
            let (after, _) = set_table(before, "mcp_servers", "placet", &server()).unwrap();
            let table: toml::Table =
                after.parse().unwrap_or_else(|e| panic!("{before}: {e}\n{after}"));
            let placet = &table["mcp_servers"]["placet"];
            assert_eq!(placet["url"].as_str(), Some("http://h/mcp"), "{after}");
            assert_eq!(placet.as_table().unwrap().len(), 2, "{after}");
        }
    }

    #[test]
    fn what_is_not_toml_of_the_right_shape_is_refused() {
        for bad in ["mcp_servers = 7", "[[mcp_servers]]\na = 1", "a = ", "a = 1\na = 2", "\u{0}"] {
            assert!(set_table(bad, "mcp_servers", "placet", &server()).is_err(), "{bad}");
        }
        assert!(set_table("x = 1\ny =", "m", "p", &server()).unwrap_err().contains("line 2"));
    }
}
