//! Mail over SMTP.
//!
//! It promises that no value can add a header or a recipient, and that every mail says it was
//! made by a machine (`Auto-Submitted`, <https://www.rfc-editor.org/rfc/rfc3834#section-5>). It
//! does not know what a mail is about.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};

use super::{Email, Message, Notifier, NotifyError};
use crate::config::Secret;
use crate::config::mail_address::ascii_domain;
use crate::domain::error_text::in_full;

/// Longest wait for one answer of the server.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15);
/// Most connections kept to the server.
const MAX_CONNECTIONS: u32 = 4;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Most characters of a subject.
pub(crate) const MAX_SUBJECT: usize = 200;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// One mail server.
pub(crate) struct Smtp {
    name: String,
    ready: Result<(Transport, Mailbox), String>,
}

impl Smtp {
    /// Makes the server's transport; call it inside a Tokio runtime. What is wrong with the
    /// configuration is said at each attempt.
    pub(crate) fn new(name: &str, smtp_url: &Secret, from: &str) -> Self {
        let ready = transport(smtp_url.expose())
            .map_err(|e| format!("notifiers.{name}.smtp_url: {e}"))
            .and_then(|t| {
                let bad = |e| format!("notifiers.{name}.from: not \"Name <address>\": {e}");
                let Mailbox { name: shown, email } = from.parse().map_err(bad)?;
                let email = ascii_domain(email.as_ref()).parse().map_err(bad)?;
                Ok((t, Mailbox::new(shown, email)))
            });
        Self { name: name.to_owned(), ready }
    }

    fn ready(&self) -> Result<&(Transport, Mailbox), NotifyError> {
        self.ready.as_ref().map_err(|e| NotifyError::Permanent(e.clone()))
    }
}

fn bad_url() -> String {
    "not a mail server's URL: smtp://user:password@host:port, smtps://…, or smtp://…?tls=required"
        .to_owned()
}

fn transport(url: &str) -> Result<Transport, String> {
    let builder = Transport::from_url(url).map_err(|_| bad_url())?;
    Ok(builder
        .timeout(Some(TIMEOUT))
        .pool_config(PoolConfig::new().max_size(MAX_CONNECTIONS).idle_timeout(IDLE))
        .build())
}

#[async_trait]
impl Notifier for Smtp {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<String, NotifyError> {
        let Message::Email(email) = message else {
            return Err(NotifyError::Permanent("a mail can't carry a webhook".to_owned()));
        };
        let (transport, from) = self.ready()?;
        let mail = compose(email, from).map_err(NotifyError::Permanent)?;
        let response = transport.send(mail).await.map_err(|e| classify(&e))?;
        let said = response.message().collect::<Vec<_>>().join(" ");
        Ok(format!("{} {said}", response.code()).trim().to_owned())
    }

    async fn probe(&self) -> Result<String, NotifyError> {
        let (transport, _) = self.ready()?;
        match transport.test_connection().await {
            Ok(true) => Ok("the mail server answers".to_owned()),
            Ok(false) => Err(NotifyError::Retry {
                detail: "the mail server does not answer NOOP".to_owned(),
                after: None,
            }),
            Err(error) => Err(NotifyError::Retry { detail: describe(&error), after: None }),
        }
    }
}

/// Puts the mail together: text first, HTML as the better alternative.
fn compose(email: &Email, from: &Mailbox) -> Result<Mail, String> {
    // Only the address, without a name: that would be one more place for foreign text.
    let to: Address = ascii_domain(&email.to)
        .parse()
        .map_err(|e| format!("the recipient's address is not one: {e}"))?;
    let mut builder = Mail::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(one_line(&email.subject))
        .message_id(Some(bracketed(&email.message_id)))
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("X-Auto-Response-Suppress", "All"));
    if let Some(references) = &email.references {
        let ids: Vec<String> = references.split_whitespace().map(bracketed).collect();
        if let Some(parent) = ids.last() {
            builder = builder.in_reply_to(parent.clone()).references(ids.join(" "));
        }
    }
    builder
        .multipart(MultiPart::alternative_plain_html(email.text.clone(), email.html.clone()))
        .map_err(|e| format!("the mail can't be put together: {e}"))
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// One line of at most [`MAX_SUBJECT`] characters: whatever could end a header becomes a space.
fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect();
    let line = line.trim();
    if line.chars().count() <= MAX_SUBJECT {
        return line.to_owned();
    }
    let cut: String = line.chars().take(MAX_SUBJECT - 1).collect();
    format!("{}…", cut.trim_end())
}

/// A message id in its brackets, without anything that could leave them.
fn bracketed(id: &str) -> String {
    let id: String =
        id.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>')).collect();
    format!("<{id}>")
}

/// Whether trying again may help. Only a refusal of this very mail or recipient is final; a refusal
/// that a changed password, certificate or relay rule would mend (enhanced status 5.7,
/// <https://www.rfc-editor.org/rfc/rfc3463#section-3.8>) is tried again.
fn classify(error: &lettre::transport::smtp::Error) -> NotifyError {
    let detail = describe(error);
    let code = error.status().map(u16::from);
    let final_refusal = matches!(code, Some(550..=553 | 555 | 556)) && !detail.contains("5.7.");
    if final_refusal {
        NotifyError::Permanent(detail)
    } else {
        NotifyError::Retry { detail, after: None }
    }
}

fn describe(error: &lettre::transport::smtp::Error) -> String {
    one_line(&in_full(error))
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
