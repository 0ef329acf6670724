//! Names on the one address, there and back: `{upstream}__{tool}` and, where a URI alone would
//! mean somebody else's resource, `{upstream}+{uri}`.

use crate::domain::json::{self, Node, edit};
use crate::mcp::request::{ClientRequest, Named};
use crate::protocol::method;

/// Stands between an upstream and one of its names. No upstream's name has an underscore, so that
/// the first one splits.
const NAME: &str = "__";
/// Stands between an upstream and a URI; what is before it stays a scheme's beginning.
const URI: char = '+';

/// A name of an upstream.
pub(crate) fn name(upstream: &str, own: &str) -> String {
    format!("{upstream}{NAME}{own}")
}

/// The upstream and its own name.
pub(crate) fn split(written: &str) -> Option<(&str, &str)> {
    written.split_once(NAME)
}

/// A URI with its upstream's name.
pub(crate) fn uri(upstream: &str, own: &str) -> String {
    format!("{upstream}{URI}{own}")
}

/// What may be an upstream and its own URI, if the upstream is one of these.
pub(crate) fn split_uri<'w>(upstreams: &[String], written: &'w str) -> Option<(&'w str, &'w str)> {
    written.split_once(URI).filter(|(first, _)| upstreams.iter().any(|u| u == first))
}

/// The object with its member `key`, a text, replaced; none if there is no such text.
pub(crate) fn renamed(object: &Node<'_>, key: &str, to: impl Fn(&str) -> String) -> Option<String> {
    let member = object.get(key)?;
    Some(edit::spliced(object.raw, member.raw, &json::quote(&to(member.as_str()?))))
}

/// A result of `resources/read` with the upstream's name before every URI.
pub(crate) fn prefixed_contents(upstream: &str, result: &str) -> String {
    let Ok(node) = json::parse(result) else { return result.to_owned() };
    let Some(list) = node.get("contents") else { return result.to_owned() };
    let contents =
        list.elements().unwrap_or_default().iter().map(|c| {
            renamed(c, "uri", |own| uri(upstream, own)).unwrap_or_else(|| c.raw.to_owned())
        });
    edit::spliced(node.raw, list.raw, &json::array(contents))
}

/// An answer's own URIs in the form the client uses, where it put the upstream's name before its.
pub(crate) fn as_addressed(incoming: &ClientRequest, result: String) -> String {
    match &incoming.named {
        Some(Named { prefixed: true, .. }) if incoming.message.method == method::RESOURCES_READ => {
            prefixed_contents(&incoming.upstream, &result)
        }
        _ => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_member_changes_its_text() {
        let node =
            json::parse(r#" { "a" : 1.00, "n\u0061me":  "u__t" , "b":{"name":"u__t"} } "#).unwrap();

        let own = renamed(&node, "name", |name| split(name).unwrap().1.to_owned());

        assert_eq!(own.unwrap(), r#"{ "a" : 1.00, "n\u0061me":  "t" , "b":{"name":"u__t"} }"#);
    }

    #[test]
    fn the_first_two_underscores_split_a_name() {
        assert_eq!(split("images__delete__all"), Some(("images", "delete__all")));
        assert_eq!(split("images____x"), Some(("images", "__x")));
        assert_eq!(split("images_x"), None);
    }

    #[test]
    fn a_scheme_with_a_plus_is_an_upstreams_only_if_there_is_one_of_that_name() {
        let upstreams = ["git".to_owned()];

        assert_eq!(split_uri(&upstreams, "git+https://x"), Some(("git", "https://x")));
        assert_eq!(split_uri(&upstreams, "svn+https://x"), None);
    }

    #[test]
    fn every_uri_of_the_contents_gets_the_name_before_it() {
        let read = r#"{"contents":[{"uri":"a:1","text":"uri"}, {"x":1}],"resultType":"complete"}"#;

        let told = prefixed_contents("u", read);

        assert_eq!(
            told,
            r#"{"contents":[{"uri":"u+a:1","text":"uri"},{"x":1}],"resultType":"complete"}"#
        );
    }
}
