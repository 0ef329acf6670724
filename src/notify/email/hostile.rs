//! Every hostile string in every place of a mail: the composed message, read as a mailbox would.

use base64::Engine as _;

use super::*;
use crate::domain::approval::{Approval, Choice, State};
use crate::domain::call::ToolCall;
use crate::domain::hostile;
use crate::domain::json;
use crate::domain::mask::Masker;
use crate::notify::fixtures::{NOW, approval, config, decision, masker, reviewer};
use crate::notify::message::{self, Letter};

const LINK: &str = "https://placet.example/review/tok";

/// A message as read: its headers' names, and its two parts decoded.
#[derive(Debug)]
struct Mailed {
    headers: Vec<String>,
    subject: String,
    text: String,
    html: String,
}

fn read(raw: &str) -> Mailed {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let head = unfolded(head);
    let kind = header(&head, "content-type");
    let boundary = kind.split_once("boundary=\"").unwrap().1.split('"').next().unwrap();
    let mut parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.pop().unwrap().trim(), "--", "the last boundary ends it");
    assert_eq!(parts.len(), 3, "nothing before the parts, and two of them");
    let mut decoded = parts[1..].iter().map(|part| decode(part));
    Mailed {
        headers: head.iter().map(|line| line.split(':').next().unwrap().to_lowercase()).collect(),
        subject: header(&head, "subject"),
        text: decoded.next().unwrap(),
        html: decoded.next().unwrap(),
    }
}

fn unfolded(head: &str) -> Vec<String> {
    head.replace("\r\n ", " ").replace("\r\n\t", " ").lines().map(str::to_owned).collect()
}

fn header(head: &[String], name: &str) -> String {
    let fits = |line: &&String| line.to_lowercase().starts_with(&format!("{name}:"));
    head.iter().find(fits).map_or(String::new(), |l| l[name.len() + 1..].trim().to_owned())
}

fn decode(part: &str) -> String {
    let (head, body) = part.trim_start_matches("\r\n").split_once("\r\n\r\n").unwrap();
    let body = body.strip_suffix("\r\n").unwrap();
    let bytes = match header(&unfolded(head), "content-transfer-encoding").as_str() {
        "base64" => {
            let joined: String = body.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD.decode(joined).unwrap()
        }
        "quoted-printable" => quoted_printable(body),
        "7bit" | "8bit" | "" => body.as_bytes().to_vec(),
        other => panic!("{other}"),
    };
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let body = body.replace("=\r\n", "");
    let mut out = Vec::new();
    let mut rest = body.as_bytes();
    while let [first, more @ ..] = rest {
        if *first == b'=' {
            let hex = std::str::from_utf8(&more[..2]).unwrap();
            out.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &more[2..];
        } else {
            out.push(*first);
            rest = more;
        }
    }
    out
}

/// All mails that repeat words of a call.
fn mails(told: &Approval, config: &Config, masker: &Masker) -> Vec<(&'static str, Email)> {
    let letter = Letter {
        config,
        masker,
        notifier: &config.notifiers[1],
        to: "ana@example.org",
        id: "dlv_1",
        recipient: "ana",
        now: NOW,
    };
    let mut named = reviewer("ana", crate::config::Role::Reviewer);
    named.name.clone_from(&told.agent);
    vec![
        ("requested", message::requested(letter, told, false, LINK, true)),
        ("reminder", message::requested(letter, told, true, LINK, true)),
        ("rejected", message::resolved(letter, told, State::Rejected)),
        ("expired", message::resolved(letter, told, State::Expired)),
        ("indeterminate", message::indeterminate(letter, told)),
        ("summary", message::summary(letter, std::slice::from_ref(told), false)),
        ("sign-in", message::sign_in(letter, &named, LINK)),
    ]
}

use crate::config::Config;

fn told(text: &str, value: &str) -> Approval {
    let key = json::quote(text);
    let params = format!(
        "{{\"name\":{key},\"arguments\":{{{key}:{value}}},\"x\":{value},\"_meta\":{{\"reason\":{value}}}}}"
    );
    let words = || Some(text.to_owned());
    let mut decided = decision("bo", Choice::Reject);
    decided.reason = text.to_owned();
    Approval {
        call: ToolCall::read("images", &params).unwrap(),
        agent: text.to_owned(),
        client: words(),
        rule: text.to_owned(),
        reason: words(),
        end_reason: words(),
        decisions: vec![decided],
        ..approval()
    }
}

#[test]
fn no_hostile_string_reaches_a_header_becomes_markup_or_stays_unseen_in_a_mail() {
    let (config, masker) = (config(), masker());
    let from: Mailbox = "Placet <placet@example.org>".parse().unwrap();
    let sent =
        |email: &Email| String::from_utf8(compose(email, &from).unwrap().formatted()).unwrap();
    let plain: Vec<Mailed> = mails(&told("plain", "\"plain\""), &config, &masker)
        .iter()
        .map(|(_, email)| read(&sent(email)))
        .collect();
    let structure = |html: &str| {
        let mut tags = hostile::tags(html);
        tags.retain(|tag| {
            tag != "p class style"
                && tag != "/p"
                && tag != "p style"
                && tag != "strong"
                && tag != "/strong"
        });
        tags
    };

    for entry in hostile::corpus() {
        let told = told(&entry.text, &entry.json);
        for ((kind, email), plain) in mails(&told, &config, &masker).iter().zip(&plain) {
            let at = format!("{} in {kind}", entry.name);

            let mail = read(&sent(email));

            assert_eq!(mail.headers, plain.headers, "{at}");
            assert!(mail.subject.is_ascii() && !mail.subject.contains('\r'), "{at}");
            assert!(hostile::unseen(&email.subject).is_empty(), "{at}: {}", email.subject);
            assert_eq!(mail.text.trim_end(), email.text.trim_end(), "{at}");
            assert_eq!(mail.html.trim_end(), email.html.trim_end(), "{at}");
            let fits = |line: &str| line.chars().count() <= 78 || line.contains("://");
            assert!(mail.text.lines().all(fits), "{at}: a line is too wide");
            for part in [&mail.text, &mail.html] {
                let left = hostile::unseen(part);
                assert!(left.is_empty(), "{at}: {left:?}");
            }
            assert_eq!(structure(&mail.html), structure(&plain.html), "{at}");
            let warned = |part: &str| {
                part.contains("in one word")
                    || part.contains("look Latin")
                    || part.contains("pass for others")
            };
            if *kind == "summary" {
                assert_eq!(mail.text.contains("look-alike"), entry.alike, "{at}");
            } else if *kind != "sign-in" {
                assert_eq!(warned(&mail.text), entry.alike, "{at}");
                assert_eq!(warned(&mail.html), entry.alike, "{at}");
            }
        }
    }
}
