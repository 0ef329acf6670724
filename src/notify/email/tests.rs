use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;

/// A mail server of a few lines: answers `RCPT` with `rcpt`, keeps every mail it takes.
struct Sink {
    url: Secret,
    mails: Arc<Mutex<Vec<String>>>,
}

async fn sink(rcpt: &'static str, auth: &'static str) -> Sink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://user:password@{}", listener.local_addr().unwrap());
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&mails);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let _ = write.write_all(b"220 sink\r\n").await;
                while let Ok(Some(line)) = lines.next_line().await {
                    let word = line.split([' ', ':']).next().unwrap_or("").to_uppercase();
                    let answer = match word.as_str() {
                        "EHLO" => "250-sink\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                        "AUTH" => auth,
                        "RCPT" => rcpt,
                        "QUIT" => "221 bye",
                        "DATA" => {
                            let _ = write.write_all(b"354 go on\r\n").await;
                            let mut mail = String::new();
                            while let Ok(Some(line)) = lines.next_line().await {
                                if line == "." {
                                    break;
                                }
                                mail.push_str(&line);
                                mail.push('\n');
                            }
                            kept.lock().unwrap().push(mail);
                            "250 2.0.0 queued as 7"
                        }
                        _ => "250 fine",
                    };
                    let _ = write.write_all(format!("{answer}\r\n").as_bytes()).await;
                }
            });
        }
    });
    Sink { url: Secret::new(url), mails }
}

fn email() -> Email {
    Email {
        to: "ana@example.org".into(),
        subject: "Approve delete_image_set?".into(),
        text: "plain words".into(),
        html: "<p>rich words</p>".into(),
        message_id: "dlv_1@placet.example".into(),
        references: Some("apr_1@placet.example".into()),
    }
}

fn smtp(url: &Secret) -> Smtp {
    Smtp::new("mail", url, "Placet <placet@example.org>")
}

#[tokio::test]
async fn a_mail_arrives_with_both_parts_and_its_headers() {
    let sink = sink("250 fine", "235 welcome").await;

    let answer = smtp(&sink.url).send(&Message::Email(email())).await.unwrap();

    let mail = sink.mails.lock().unwrap()[0].clone();
    assert_eq!(answer, "250 2.0.0 queued as 7");
    for line in [
        "From: Placet <placet@example.org>",
        "To: ana@example.org",
        "Subject: Approve delete_image_set?",
        "Message-ID: <dlv_1@placet.example>",
        "References: <apr_1@placet.example>",
        "In-Reply-To: <apr_1@placet.example>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ] {
        assert!(mail.lines().any(|l| l == line), "{line} in {mail}");
    }
    assert!(mail.contains("multipart/alternative"));
    assert!(mail.find("plain words").unwrap() < mail.find("<p>rich words</p>").unwrap());
}

#[tokio::test]
async fn a_domain_that_is_not_ascii_goes_out_as_xn_to_a_server_without_smtputf8() {
    let sink = sink("250 fine", "235 welcome").await;
    let smtp = Smtp::new("mail", &sink.url, "Büro <placet@bücher.example>");
    let mail = Email { to: "ana@例え.テスト".into(), ..email() };

    smtp.send(&Message::Email(mail)).await.unwrap();

    let mail = sink.mails.lock().unwrap()[0].clone();
    assert!(mail.lines().any(|l| l == "To: ana@xn--r8jz45g.xn--zckzah"), "{mail}");
    assert!(mail.contains("<placet@xn--bcher-kva.example>"), "{mail}");
}

#[tokio::test]
async fn no_value_adds_a_header() {
    let evil = "x\r\nBcc: eve@example.org\r\n\r\nbody\u{2028}\u{85}";
    let mail = Email {
        subject: evil.into(),
        message_id: evil.into(),
        references: Some(format!("{evil}>")),
        ..email()
    };

    let composed = compose(&mail, &"placet@example.org".parse().unwrap()).unwrap().formatted();

    let text = String::from_utf8(composed).unwrap();
    let head = text.split("\r\n\r\n").next().unwrap();
    for line in head.split("\r\n") {
        assert!(!line.starts_with("Bcc") && !line.starts_with("body"), "{head}");
    }
    assert!(head.contains("Auto-Submitted"));
}

#[test]
fn an_address_that_is_not_one_is_refused() {
    for to in ["ana@example.org\r\nBcc: eve@example.org", "ana@example.org, eve@example.org", ""] {
        let mail = Email { to: to.into(), ..email() };

        assert!(compose(&mail, &"placet@example.org".parse().unwrap()).is_err(), "{to:?}");
    }
}

#[test]
fn subjects_are_cut_at_the_named_limit() {
    assert_eq!(one_line(&"x".repeat(MAX_SUBJECT)).chars().count(), MAX_SUBJECT);
    assert_eq!(one_line(&"x".repeat(MAX_SUBJECT + 1)).chars().count(), MAX_SUBJECT);
    assert!(one_line(&"x".repeat(MAX_SUBJECT + 1)).ends_with('…'));
}

#[tokio::test]
async fn a_refused_recipient_is_final() {
    let sink = sink("550 5.1.1 no such user", "235 welcome").await;

    let error = smtp(&sink.url).send(&Message::Email(email())).await.unwrap_err();

    assert!(matches!(&error, NotifyError::Permanent(d) if d.contains("no such user")), "{error}");
}

#[tokio::test]
async fn what_an_operator_can_mend_is_tried_again() {
    for (rcpt, auth) in [
        ("250 fine", "535 5.7.8 wrong password"),
        ("550 5.7.1 relaying denied", "235 welcome"),
        ("451 4.3.0 later", "235 welcome"),
    ] {
        let sink = sink(rcpt, auth).await;

        let error = smtp(&sink.url).send(&Message::Email(email())).await.unwrap_err();

        assert!(matches!(error, NotifyError::Retry { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Secret::new(format!("smtp://{}", listener.local_addr().unwrap()));
    drop(listener);
    let smtp = smtp(&url);

    let sent = smtp.send(&Message::Email(email())).await;

    assert!(matches!(sent, Err(NotifyError::Retry { .. })));
    assert!(matches!(smtp.probe().await, Err(NotifyError::Retry { .. })));
}

#[tokio::test]
async fn a_probe_sends_nothing() {
    let sink = sink("250 fine", "235 welcome").await;

    let answer = smtp(&sink.url).probe().await.unwrap();

    assert_eq!(answer, "the mail server answers");
    assert!(sink.mails.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_configuration_is_named_without_its_secret() {
    let smtp = Smtp::new("mail", &Secret::new("http://u:hunter2@host"), "placet@example.org");

    let error = smtp.probe().await.unwrap_err().to_string();

    assert!(
        error.starts_with("notifiers.mail.smtp_url: ") && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test]
async fn all_forms_of_the_url_are_read() {
    for url in [
        "smtp://127.0.0.1:2525",
        "smtp://user:pass%40word@mail.example.org:587?tls=required",
        "smtp://mail.example.org?tls=opportunistic",
        "smtps://user:password@mail.example.org",
        "smtps://mail.example.org:465/broker.example.org",
    ] {
        assert!(transport(url).is_ok(), "{url}");
    }
    assert!(transport("smtp://mail.example.org?tls=maybe").is_err());
}
