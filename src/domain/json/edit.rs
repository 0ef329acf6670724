//! Edits of JSON text that leave alone what they don't name: members keep their order, and every
//! key and value the bytes it came with. Only the white space between the members of the edited
//! object is dropped. Text that is not a JSON object comes back as it is; but to an upstream's own
//! result, which may be something less than JSON, members can be added all the same.
//!
//! New values are raw JSON: the caller must make sure that they are.

use std::borrow::Cow;

use super::write::Members;
use super::{Member, Node, lenient, parse};

impl<'a> Node<'a> {
    /// The object with the value that `value` gives for each member; a member for which it gives
    /// none is left out.
    pub fn map_members<'n>(
        &'n self,
        mut value: impl FnMut(&'n Member<'a>) -> Option<Cow<'n, str>>,
    ) -> String {
        let mut out = Members::new();
        for member in self.members().unwrap_or_default() {
            if let Some(value) = value(member) {
                out.push_raw(member.raw_key, &value);
            }
        }
        out.end()
    }

    /// The object with only those members whose key `keep` accepts.
    pub fn keep_members(&self, keep: impl Fn(&str) -> bool) -> String {
        self.map_members(|m| keep(&m.key).then_some(Cow::Borrowed(m.node.raw)))
    }

    /// The object with these members: in place of those of the same name, else at its end.
    pub fn with<V: AsRef<str>>(&self, members: &[(&str, V)]) -> String {
        let given = |key: &str| members.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_ref());
        let mut out = Members::new();
        for member in self.members().unwrap_or_default() {
            out.push_raw(member.raw_key, given(&member.key).unwrap_or(member.node.raw));
        }
        for (key, value) in members {
            if self.get(key).is_none() {
                out.push(key, value.as_ref());
            }
        }
        out.end()
    }
}

/// The object with these members: in place of those of the same name, else at its end.
pub(crate) fn with<V: AsRef<str>>(raw: &str, members: &[(&str, V)]) -> String {
    edited(raw, |object| object.with(members))
}

/// The object with those of these members that it lacks added at its end.
pub(crate) fn with_missing<V: AsRef<str>>(raw: &str, members: &[(&str, V)]) -> String {
    let Ok(object) = parse(raw) else {
        return lenient::with_missing(raw, members).unwrap_or_else(|| raw.to_owned());
    };
    if !object.is_object() {
        return raw.to_owned();
    }
    let missing: Vec<(&str, &str)> = members
        .iter()
        .filter(|(key, _)| object.get(key).is_none())
        .map(|(key, value)| (*key, value.as_ref()))
        .collect();
    object.with(&missing)
}

/// The object with another value for the member `key`; unchanged if it has no such member.
pub(crate) fn replaced(raw: &str, key: &str, value: &str) -> String {
    edited(raw, |object| {
        object.map_members(|m| Some(Cow::Borrowed(if m.key == key { value } else { m.node.raw })))
    })
}

/// The object without these members; the same text if it has none of them.
pub(crate) fn without(raw: &str, keys: &[&str]) -> String {
    edited(raw, |object| {
        if keys.iter().any(|key| object.get(key).is_some()) {
            object.keep_members(|key| !keys.contains(&key))
        } else {
            raw.to_owned()
        }
    })
}

/// The object with these members in its `_meta`, which is added where there is none. A `_meta` that
/// is not an object is replaced by one.
pub(crate) fn with_meta<V: AsRef<str>>(raw: &str, members: &[(&str, V)]) -> String {
    let Ok(object) = parse(raw) else {
        return lenient::with_meta(raw, members).unwrap_or_else(|| raw.to_owned());
    };
    if !object.is_object() {
        return raw.to_owned();
    }
    let meta = object.get("_meta").filter(|m| m.is_object()).map_or("{}", |m| m.raw);
    object.with(&[("_meta", with(meta, members))])
}

/// The text with `by` in place of `part`, which is a slice of it: no other byte differs.
pub(crate) fn spliced(whole: &str, part: &str, by: &str) -> String {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    format!("{}{by}{}", &whole[..start], &whole[start + part.len()..])
}

fn edited(raw: &str, edit: impl FnOnce(&Node<'_>) -> String) -> String {
    match parse(raw) {
        Ok(node) if node.is_object() => edit(&node),
        _ => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests;
