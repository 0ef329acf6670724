//! What reviewers' names and addresses have to be: reachable, and nobody's twice.

use std::collections::HashMap;

use crate::config::mail_address::{canonical, is_plus_address, mailbox, needs_smtputf8};
use crate::config::reader::Reader;
use crate::config::{Config, NotifierKind};
use crate::domain::visible_text::{mixed_script, reads_as};

/// What an address with such a local part needs.
const NEEDS_SMTPUTF8: &str = "has letters before the @ that only a mail server with SMTPUTF8 takes; \
     where yours does, set smtputf8 = true at the e-mail notifier, or give another address";

/// Checks the names and addresses of people.
pub(super) fn check(reader: &Reader<'_>, config: &Config) {
    addresses(reader, config);
    sendable(reader, config);
    names(reader, "agents", config.agents.iter().map(|a| a.name.as_str()));
    names(reader, "reviewers", config.reviewers.iter().map(|r| r.name.as_str()));
}

/// No two reviewers have one address, and none two seats in one mailbox.
fn addresses(reader: &Reader<'_>, config: &Config) {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut mailboxes: HashMap<String, usize> = HashMap::new();
    for (i, reviewer) in config.reviewers.iter().enumerate() {
        let Some(address) = &reviewer.email else { continue };
        let key = format!("reviewers[{i}].email");
        if let Some(other) = first.get(&canonical(address)) {
            let message = format!("is also the address of reviewers[{other}]; each needs its own");
            reader.error(key, message);
            continue;
        }
        if let Some(other) = mailboxes.get(&mailbox(address)) {
            let message = format!(
                "leads to the same mailbox as the address of reviewers[{other}]: who reads it could \
                 decide twice"
            );
            reader.warn(key, message);
        } else if is_plus_address(address) {
            let message =
                format!("is a plus-address: whoever reads {} decides by it", mailbox(address));
            reader.warn(key, message);
        }
        first.insert(canonical(address), i);
        mailboxes.entry(mailbox(address)).or_insert(i);
    }
}

/// Every address that mail goes to or comes from can be written to the mail server.
fn sendable(reader: &Reader<'_>, config: &Config) {
    let mut plain = false;
    for (i, notifier) in config.notifiers.iter().enumerate() {
        let NotifierKind::Email { from, to, smtputf8, .. } = &notifier.kind else { continue };
        if *smtputf8 {
            continue;
        }
        plain = true;
        if needs_smtputf8(from.rsplit('<').next().unwrap_or_default()) {
            reader.error(format!("notifiers[{i}].from"), NEEDS_SMTPUTF8);
        }
        for (j, _) in to.iter().enumerate().filter(|(_, address)| needs_smtputf8(address)) {
            reader.error(format!("notifiers[{i}].to[{j}]"), NEEDS_SMTPUTF8);
        }
    }
    for (i, reviewer) in config.reviewers.iter().enumerate().filter(|_| plain) {
        if reviewer.email.as_deref().is_some_and(needs_smtputf8) {
            reader.error(format!("reviewers[{i}].email"), NEEDS_SMTPUTF8);
        }
    }
}

/// Names that read as another's, or are not what they look like.
fn names<'n>(reader: &Reader<'_>, list: &str, all: impl Iterator<Item = &'n str>) {
    let mut first: HashMap<String, (usize, &str)> = HashMap::new();
    for (i, name) in all.enumerate().filter(|(_, name)| !name.is_empty()) {
        let key = format!("{list}[{i}].name");
        match first.get(&reads_as(name)) {
            // Twice the same name is an error of its own.
            Some((_, other)) if *other == name => {}
            Some((other, _)) => {
                let message = format!(
                    "{name:?} looks like the name of {list}[{other}]: people could take one for the \
                     other; rename one"
                );
                reader.warn(key, message);
                continue;
            }
            None => {}
        }
        if let Some(what) = mixed_script(name) {
            reader.warn(key, format!("{what} People could take it for another name"));
        }
        first.entry(reads_as(name)).or_insert((i, name));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, Severity};

    /// The problems of these lines: severity, key, message.
    fn problems(lines: &str) -> Vec<(Severity, String, String)> {
        let problems = match Config::read(lines, None, &Environment::new()) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        problems.into_iter().map(|p| (p.severity, p.key, p.message)).collect()
    }

    fn reviewers(all: &[(&str, &str)]) -> String {
        let entry = |(name, email): &(&str, &str)| {
            format!("[[reviewers]]\nname = \"{name}\"\nemail = \"{email}\"\n")
        };
        all.iter().map(entry).collect()
    }

    fn about<'p>(
        problems: &'p [(Severity, String, String)],
        key: &str,
    ) -> Option<&'p (Severity, String, String)> {
        problems.iter().find(|(_, k, _)| k == key)
    }

    const MAIL: &str = "[[notifiers]]\nname = \"mail\"\nkind = \"email\"\n\
                        smtp_url = \"smtp://127.0.0.1:25\"\nfrom = \"a@example.org\"\n";

    #[test]
    fn look_alike_names_of_reviewers_are_a_warning() {
        for other in ["аna", "Ana", "ａna", "a\u{200b}na", "anа"] {
            let found = problems(&reviewers(&[("ana", "a@example.org"), (other, "b@example.org")]));

            let (severity, _, message) = about(&found, "reviewers[1].name").unwrap();
            assert_eq!(*severity, Severity::Warning, "{other}");
            assert!(message.contains("reviewers[0]"), "{message}");
        }
        let apart = problems(&reviewers(&[("ana", "a@example.org"), ("anna", "b@example.org")]));
        assert_eq!(about(&apart, "reviewers[1].name"), None);
        let alone = problems(&reviewers(&[("оlga", "a@example.org")]));
        assert!(about(&alone, "reviewers[0].name").unwrap().2.contains("different scripts"));
    }

    #[test]
    fn plus_addresses_and_addresses_of_one_mailbox_are_a_warning() {
        for (one, other) in [
            ("ana@example.org", "ana+2@example.org"),
            ("ana+1@example.org", "ANA+2@example.org"),
            ("ana.b@gmail.com", "anab@googlemail.com"),
            ("ana@bücher.example", "ana+x@xn--bcher-kva.example"),
        ] {
            let found = problems(&reviewers(&[("ana", one), ("ben", other)]));

            let (severity, _, message) = about(&found, "reviewers[1].email").unwrap();
            assert_eq!(*severity, Severity::Warning, "{other}");
            assert!(message.contains("reviewers[0]"), "{message}");
        }
        let alone = problems(&reviewers(&[("ana", "ana+placet@example.org")]));
        let (severity, _, message) = about(&alone, "reviewers[0].email").unwrap();
        assert_eq!(*severity, Severity::Warning);
        assert!(message.contains("plus-address"), "{message}");
        let apart = [("ana", "an.a@example.org"), ("ben", "ana@example.org")];
        assert_eq!(about(&problems(&reviewers(&apart)), "reviewers[1].email"), None);
    }

    #[test]
    fn one_address_in_two_spellings_is_an_error() {
        let all = [("ana", "ana@bücher.example"), ("ben", "Ana@XN--bcher-kva.example")];

        let found = problems(&reviewers(&all));

        assert_eq!(about(&found, "reviewers[1].email").unwrap().0, Severity::Error);
    }

    #[test]
    fn an_address_that_the_mail_server_may_not_take_is_an_error_where_mail_is_sent() {
        let people = reviewers(&[("ana", "jürgen@example.org")]);
        assert_eq!(about(&problems(&people), "reviewers[0].email"), None, "no mail is sent");

        let mailing = problems(&format!("{people}{MAIL}"));
        let (severity, _, message) = about(&mailing, "reviewers[0].email").unwrap();
        assert_eq!(*severity, Severity::Error);
        assert!(message.contains("SMTPUTF8"), "{message}");
        let able = problems(&format!("{people}{MAIL}smtputf8 = true\n"));
        assert_eq!(about(&able, "reviewers[0].email"), None);

        let fine = reviewers(&[("ana", "ana@bücher.example")]);
        let others = MAIL.replace("a@example.org", "Bücher <bü@example.org>");
        let found = problems(&format!("{fine}{others}to = [\"x@y.example\", \"ü@y.example\"]\n"));
        assert_eq!(about(&found, "reviewers[0].email"), None, "a domain goes out as xn--");
        assert_eq!(about(&found, "notifiers[0].from").unwrap().0, Severity::Error);
        assert_eq!(about(&found, "notifiers[0].to[1]").unwrap().0, Severity::Error);
        assert_eq!(about(&found, "notifiers[0].to[0]"), None);
    }

    #[test]
    fn addresses_that_are_none_are_an_error() {
        for bad in
            ["ana", "ana@", "@example.org", "a b@example.org", "ana@exa mple.org", "ana@-.org"]
        {
            let found = problems(&reviewers(&[("ana", bad)]));

            assert_eq!(about(&found, "reviewers[0].email").unwrap().0, Severity::Error, "{bad}");
        }
        let long = format!("ana@{}.org", "ü".repeat(60));
        let found = problems(&reviewers(&[("ana", &long)]));
        assert!(about(&found, "reviewers[0].email").is_some(), "its xn-- form is too long");
    }

    #[test]
    fn behind_a_proxy_the_anonymous_agent_and_reviewer_are_refused_as_on_a_public_address() {
        for (server, named) in [
            ("public_url = \"https://placet.example.org\"", "server.public_url"),
            ("public_url = \"http://10.0.0.7:8420\"", "server.public_url"),
            ("trusted_proxies = [\"127.0.0.1\"]", "server.trusted_proxies"),
            ("listen = \"0.0.0.0:8420\"", "server.listen"),
            ("allowed_hosts = [\"localhost\", \"placet.example.org\"]", "placet.example.org"),
            ("allowed_hosts = [\"10.0.0.7:8420\"]", "server.allowed_hosts"),
            ("allowed_hosts = [\"[2001:db8::1]\"]", "server.allowed_hosts"),
            ("allowed_hosts = [\"localhost.example.org\"]", "server.allowed_hosts"),
        ] {
            let found = problems(&format!("[server]\n{server}\n"));

            for key in ["agents", "reviewers"] {
                let (severity, _, message) = about(&found, key).unwrap();
                assert_eq!(*severity, Severity::Error, "{server}");
                assert!(message.contains(named), "{message}");
            }
        }
        for server in [
            "public_url = \"http://localhost:8420\"",
            "public_url = \"http://[::1]:8420\"",
            "public_url = \"http://placet.localhost:8420\"",
            "listen = \"[::1]:8420\"",
            "allowed_hosts = [\"localhost:1\", \"127.0.0.9\", \"[::1]:80\", \"a.localhost\"]",
        ] {
            let found = problems(&format!("[server]\n{server}\n"));
            assert_eq!(
                (about(&found, "agents"), about(&found, "reviewers")),
                (None, None),
                "{server}"
            );
        }
    }
}
