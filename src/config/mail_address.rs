//! Mail addresses: which are one, and how one is written to a mail server.

use url::Host;

/// Providers that pay no heed to dots before the @.
const WITHOUT_DOTS: [&str; 2] = ["gmail.com", "googlemail.com"];

/// The address with its domain in ASCII, `xn--…` (<https://www.rfc-editor.org/rfc/rfc5891#section-4>):
/// every mail server takes that. What is no such domain stays as it is.
pub(crate) fn ascii_domain(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() => match Host::parse(domain) {
            Ok(Host::Domain(ascii)) => format!("{local}@{ascii}"),
            _ => address.to_owned(),
        },
        _ => address.to_owned(),
    }
}

/// One spelling for all spellings of an address: the domain in ASCII, ASCII letters in lower case. Other
/// letters before the @ stay: by their case they could become another's.
pub(crate) fn canonical(address: &str) -> String {
    ascii_domain(address).to_ascii_lowercase()
}

/// Whether a mail server needs SMTPUTF8 for it
/// (<https://www.rfc-editor.org/rfc/rfc6531#section-3>): what stands before the @ has no other form.
pub(crate) fn needs_smtputf8(address: &str) -> bool {
    !address.rsplit_once('@').map_or(address, |(local, _)| local).is_ascii()
}

/// Whether a tag is added to what stands before the @, as in `ana+placet@example.org`
/// (<https://www.rfc-editor.org/rfc/rfc5233#section-1>).
pub(crate) fn is_plus_address(address: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(local, _)| local.trim_start_matches('+').contains('+'))
}

/// The mailbox that an address leads to at most providers: without its tag, and without dots where
/// the provider ignores them.
pub(crate) fn mailbox(address: &str) -> String {
    let address = canonical(address).to_lowercase();
    let Some((local, domain)) = address.rsplit_once('@') else { return address };
    let tagged = local.trim_start_matches('+').len();
    let start = local.len() - tagged;
    let end = local[start..].find('+').map_or(local.len(), |at| start + at);
    if WITHOUT_DOTS.contains(&domain) {
        return format!("{}@{}", local[..end].replace('.', ""), WITHOUT_DOTS[0]);
    }
    format!("{}@{domain}", &local[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_is_not_ascii_is_written_as_xn() {
        for (written, sent) in [
            ("ana@bücher.example", "ana@xn--bcher-kva.example"),
            ("Ana@BÜCHER.example", "Ana@xn--bcher-kva.example"),
            ("ana@例え.テスト", "ana@xn--r8jz45g.xn--zckzah"),
            ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
            ("ana@example.org", "ana@example.org"),
        ] {
            assert_eq!(ascii_domain(written), sent);
        }
    }

    #[test]
    fn a_mailbox_has_no_tag_and_a_leading_plus_is_none() {
        assert_eq!(mailbox("Ana+a+b@Example.org"), "ana@example.org");
        assert_eq!(mailbox("+49@example.org"), "+49@example.org");
        assert!(!is_plus_address("+49@example.org") && is_plus_address("a+b@example.org"));
    }
}
