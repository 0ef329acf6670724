//! Several servers' own words as one server's.

use std::borrow::Cow;

use crate::domain::json::{self, Node};
use crate::upstream::{ServerFacts, WireEra};

/// Capabilities that are there with any upstream, each as far as one of them has it; the
/// instructions of all under their names. The server is Placet itself.
pub(crate) fn union(known: &[(&str, ServerFacts)]) -> ServerFacts {
    // There is always a list of tools, and policies change it.
    let all = "{\"tools\":{\"listChanged\":true}}".to_owned();
    let capabilities = known.iter().fold(all, |all, (_, facts)| {
        match (json::parse(&all), json::parse(&facts.capabilities)) {
            (Ok(all), Ok(more)) => both(&all, &more),
            _ => all.clone(),
        }
    });
    let instructions: Vec<String> = known
        .iter()
        .filter_map(|(name, facts)| Some(format!("{name}:\n{}", facts.instructions.as_ref()?)))
        .collect();
    ServerFacts {
        era: WireEra::Modern,
        version: String::new(),
        capabilities,
        server_info: String::new(),
        instructions: (!instructions.is_empty()).then(|| instructions.join("\n\n")),
    }
}

/// Members of both; of two objects both again, of two flags whether either is set, else the
/// first.
fn both(first: &Node<'_>, second: &Node<'_>) -> String {
    if first.as_bool() == Some(false) && second.as_bool() == Some(true) {
        return second.raw.to_owned();
    }
    let (true, Some(more)) = (first.is_object(), second.members()) else {
        return first.raw.to_owned();
    };
    let all: Vec<(&str, Cow<'_, str>)> = more
        .iter()
        .map(|m| match first.get(&m.key) {
            Some(own) => (m.key.as_ref(), both(own, &m.node).into()),
            None => (m.key.as_ref(), m.node.raw.into()),
        })
        .collect();
    first.with(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(capabilities: &str, instructions: Option<&str>) -> ServerFacts {
        ServerFacts {
            era: WireEra::Legacy,
            version: "2025-11-25".to_owned(),
            capabilities: capabilities.to_owned(),
            server_info: "{\"name\":\"s\"}".to_owned(),
            instructions: instructions.map(str::to_owned),
        }
    }

    #[test]
    fn what_any_server_can_do_all_together_can() {
        let one = server(r#"{"resources":{"subscribe":false},"logging":{}}"#, Some("be kind"));
        let two = server(r#"{"tools":{},"resources":{"subscribe":true,"x":1}}"#, Some("be quick"));

        let all = union(&[("a", one), ("b", two)]);

        assert_eq!(
            all.capabilities,
            r#"{"tools":{"listChanged":true},"resources":{"subscribe":true,"x":1},"logging":{}}"#
        );
        assert_eq!(all.instructions.as_deref(), Some("a:\nbe kind\n\nb:\nbe quick"));
        assert_eq!(union(&[]).capabilities, r#"{"tools":{"listChanged":true}}"#);
    }
}
