//! What a tool's name says.

use super::words::{Sense, class_of_pair, sense};
use crate::domain::risk::RiskClass;

/// What a name says of what the tool does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// The class of the act it names.
    pub class: RiskClass,
    /// The word that says it.
    pub word: String,
    /// Whether that word is certainly an act.
    pub is_certain: bool,
    /// A word before it that reads, and may be a thing: `list` in `wfp_list_dispatch_namespaces`.
    pub reading: Option<String>,
}

/// Words that may be things, and are acts where a name begins with them: `start_read_set_import`.
const OPENING: [&str; 8] = ["copy", "import", "move", "set", "start", "stop", "update", "upload"];

/// Words before an act that say how it is done.
const JOINING: [&str; 6] = ["or", "and", "then", "y", "et", "und"];

/// The words of a name, lower case, in whatever style it is written: `deleteImageSet`,
/// `delete-image-set`, `ec2.terminate_instances`, `HTTPGet`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let chars: Vec<char> = name.chars().collect();
    for (n, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = n.checked_sub(1).map(|n| chars[n]);
        let begins = c.is_uppercase()
            && (before.is_some_and(|b| b.is_lowercase() || b.is_ascii_digit())
                || (before.is_some_and(char::is_uppercase)
                    && chars.get(n + 1).is_some_and(|next| next.is_lowercase())));
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What the name says; none where no word of it is known.
///
/// The first word that is certainly an act governs: after one that reads, what else is named is its
/// object (`list_delete_markers`, `get_reset_token`), unless it is joined to it (`get_or_create`) or
/// closes a name that begins with a thing (`list_remove`). After any other act the gravest counts.
pub(super) fn read(name: &str) -> Option<Named> {
    let words = words(name);
    let known: Vec<(usize, Sense)> =
        words.iter().enumerate().filter_map(|(n, word)| Some((n, sense(word)?))).collect();
    let said = |&(n, sense): &(usize, Sense), is_certain| Named {
        class: sense.class,
        word: words[n].clone(),
        is_certain,
        reading: None,
    };
    let (first, last) = (known.first()?, words.len() - 1);
    let certain = known.iter().find(|(_, sense)| !sense.is_noun_too);
    // `order_cancel`, `log_purge`; but `list_markers`, where nothing follows that acts.
    let governing = match certain {
        Some(act) if first.1.is_noun_too && first.0 == 0 && first.1.class == RiskClass::Read => {
            // `search_delete` acts at its end; `list_delete_markers` reads.
            if act.0 == last || act.1.class == RiskClass::Read { act } else { first }
        }
        Some(act) if first.0 == 0 && act.0 != last && OPENING.contains(&words[0].as_str()) => {
            // `set_get_members` would be odd, `start_read_set_import` is not.
            if act.1.class < first.1.class { first } else { act }
        }
        Some(act) => act,
        None => first,
    };
    let before = known.iter().take_while(|(n, _)| *n < governing.0);
    let mut reading = before.filter(|(_, sense)| sense.class == RiskClass::Read);
    let reading = reading.next().map(|(n, _)| words[*n].clone());
    let objects = words.iter().skip(governing.0 + 1).map(String::as_str);
    if let Some(class) = class_of_pair(&words[governing.0], objects) {
        let word = words[governing.0..].join(" ");
        return Some(Named { class, word, is_certain: true, reading });
    }
    let joined = |n: usize| n > 0 && JOINING.contains(&words[n - 1].as_str());
    let mut gravest = said(
        governing,
        !governing.1.is_noun_too
            || (governing.0 == 0 && (last > 0 || governing.1.class == RiskClass::Read)),
    );
    for one in known.iter().filter(|one| one.0 > governing.0) {
        // `request_deletion`, `send_payment`; but `cancel_run`, whose run is a thing.
        let counts = joined(one.0)
            || (governing.1.class != RiskClass::Read && one.1.class >= RiskClass::Destructive);
        if counts && one.1.class > gravest.class {
            gravest = said(one, true);
        }
    }
    Some(Named { reading, ..gravest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str) -> Option<RiskClass> {
        read(name).map(|named| named.class)
    }

    #[test]
    fn names_are_split_in_every_style() {
        for name in ["delete_image_set", "deleteImageSet", "delete-image-set", "Delete.Image/Set"] {
            assert_eq!(words(name), ["delete", "image", "set"], "{name}");
        }
        assert_eq!(words("ec2TerminateInstances"), ["ec2", "terminate", "instances"]);
        assert_eq!(words("HTTPGetURL"), ["http", "get", "url"]);
    }

    #[test]
    fn the_act_counts_and_not_what_it_is_done_to() {
        use RiskClass::{Destructive, Execute, Financial, Read, Write};
        for (name, said) in [
            ("list_delete_markers", Read),
            ("get_deleted_items", Read),
            ("get_reset_token", Read),
            ("get_or_create", Write),
            ("find_and_delete", Destructive),
            ("image_set_delete", Destructive),
            ("order_cancel", Write),
            ("get_image_set", Read),
            ("ec2_terminate_instances", Destructive),
            ("rm", Destructive),
            ("mailing_list_remove", Destructive),
            ("execute_query", Execute),
            ("request_deletion", Destructive),
            ("pay_invoice", Financial),
            ("list_invoices", Read),
            ("bulk_update_or_delete", Destructive),
            ("eliminarUsuario", Destructive),
        ] {
            assert_eq!(class(name), Some(said), "{name}");
        }
        assert_eq!(class("frobnicate"), None);
    }
}
