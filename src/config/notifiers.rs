//! `[[notifiers]]`: the channels to reviewers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use url::Url;

use super::principals::address;
use super::reader::{Section, Show};
use super::sections::required_name;
use super::{Notifier, NotifierKind, Secret, secret, value};

/// What webhook secrets begin with.
pub(super) const SECRET_PREFIX: &str = "whsec_";

/// Fewest bytes of a webhook secret, decoded.
pub(super) const MIN_SECRET: usize = 16;

/// Kinds whose names are reserved and which are not built yet.
const LATER: [&str; 9] = [
    "slack",
    "teams",
    "ntfy",
    "telegram",
    "discord",
    "mattermost",
    "pagerduty",
    "pushover",
    "matrix",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Email,
    Webhook,
}

/// Reads one notifier; none where its kind is a problem.
pub(super) fn read(s: &Section<'_>) -> Option<Notifier> {
    let name = required_name(s, value::name).unwrap_or_default();
    s.require("kind", "email or webhook");
    let kind = s.parsed("kind", Show::Value, |text| match text {
        "email" => Ok(Kind::Email),
        "webhook" => Ok(Kind::Webhook),
        later if LATER.contains(&later) => {
            Err("not available in this version; email and webhook are".to_owned())
        }
        other => {
            let near = value::suggestion(other, ["email", "webhook"].into_iter());
            Err(format!("expected email or webhook{near}"))
        }
    });
    let smtp_url = smtp_url(s);
    let from = s.parsed("from", Show::Value, |text| {
        text.parse::<Mailbox>()
            .map(|_| text.to_owned())
            .map_err(|_| "expected a mail address, as in Placet <placet@example.org>".to_owned())
    });
    let to = s.list("to", address).unwrap_or_default();
    let url = s.parsed("url", Show::Nothing, |text| {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| "expected an http:// or https:// address".to_owned())
    });
    let secret = webhook_secret(s);
    let allow_private_network = s.flag("allow_private_network").unwrap_or(false);
    let smtputf8 = s.flag("smtputf8").unwrap_or(false);
    let include_arguments = s.flag("include_arguments");
    if let Some(kind) = kind {
        belongs(s, kind);
    }
    s.finish();
    let kind = match kind? {
        Kind::Email => NotifierKind::Email {
            smtp_url: Secret::new(smtp_url.unwrap_or_default()),
            from: from.unwrap_or_default(),
            to,
            smtputf8,
        },
        Kind::Webhook => NotifierKind::Webhook {
            url: url?,
            secret: Secret::new(secret.unwrap_or_default()),
            allow_private_network,
        },
    };
    let by_default = matches!(kind, NotifierKind::Email { .. });
    Some(Notifier { name, kind, include_arguments: include_arguments.unwrap_or(by_default) })
}

/// Notes the keys that a kind of notifier lacks, and those that belong to another kind.
fn belongs(s: &Section<'_>, kind: Kind) {
    let email = ["smtp_url", "smtp_url_env", "smtp_url_file", "from", "to", "smtputf8"];
    let webhook = ["url", "secret", "secret_env", "secret_file", "allow_private_network"];
    let (foreign, of): (&[&'static str], _) = match kind {
        Kind::Email => (&webhook, "webhook"),
        Kind::Webhook => (&email, "email"),
    };
    for key in foreign {
        if s.is_given(key) {
            s.reader.error(s.at(key), format!("only goes with kind = \"{of}\"; remove it"));
        }
    }
    match kind {
        Kind::Email => {
            if !secret::SMTP_URL.is_given(s) {
                s.require("smtp_url", "as in smtp://127.0.0.1:25");
            }
            s.require("from", "as in Placet <placet@example.org>");
        }
        Kind::Webhook => {
            s.require("url", "as in https://hooks.example.org/placet");
            if !secret::SECRET.is_given(s) {
                s.require("secret", "whsec_ and base64; it signs every message");
            }
        }
    }
}

fn smtp_url(s: &Section<'_>) -> Option<String> {
    let (key, text) = secret::read(s, secret::SMTP_URL)?;
    if AsyncSmtpTransport::<Tokio1Executor>::from_url(&text).is_err() {
        s.reader.error(
            s.at(key),
            "expected smtp://host:port, smtps://host or smtp://host?tls=required, with \
             user:password@ before the host where the server asks for it",
        );
        return None;
    }
    Some(text)
}

fn webhook_secret(s: &Section<'_>) -> Option<String> {
    let (key, text) = secret::read(s, secret::SECRET)?;
    let long_enough = text
        .strip_prefix(SECRET_PREFIX)
        .and_then(|base64| STANDARD.decode(base64).ok())
        .is_some_and(|bytes| bytes.len() >= MIN_SECRET);
    if !long_enough {
        let message = format!(
            "expected {SECRET_PREFIX} and base64 of at least {MIN_SECRET} bytes; make one with \
             `echo {SECRET_PREFIX}$(openssl rand -base64 32)`"
        );
        s.reader.error(s.at(key), message);
        return None;
    }
    Some(text)
}
