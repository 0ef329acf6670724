//! `[oidc]`: signing in through an OpenID Connect provider. Off while it names no issuer.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Value;
use url::{Host, Url};

use super::reader::{Reader, Section, Show};
use super::secret::{self, SecretKeys};
use super::{Config, Role, Secret, value};

/// `client_secret`
const CLIENT_SECRET: SecretKeys =
    SecretKeys { plain: "client_secret", env: "client_secret_env", file: "client_secret_file" };

/// Longest label of the button, characters.
const MAX_LABEL: usize = 60;

/// The path that the provider sends people back to: the redirection endpoint.
///
/// <https://www.rfc-editor.org/rfc/rfc6749#section-3.1.2>
pub(crate) const CALLBACK: &str = "/sign-in/oidc/callback";

/// The claim of the provider by which a reviewer is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identify {
    /// By `email`, where `email_verified` is true.
    Email,
    /// By `sub`, through the table `subjects`.
    Subject,
}

/// `[oidc]`
#[derive(Debug, Clone)]
pub struct Oidc {
    /// The issuer, exactly as the provider names itself.
    pub issuer: String,
    /// The client id that the provider gave Placet.
    pub client_id: String,
    /// How Placet proves that it is this client; none for a public client.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc6749#section-2.1>
    pub client_secret: Option<Secret>,
    /// The scopes that are asked for, besides `openid`.
    pub scopes: Vec<String>,
    /// What the sign-in button calls the provider.
    pub label: String,
    /// The claim by which a reviewer is found.
    pub identify: Identify,
    /// Reviewers' names by the provider's `sub`.
    pub subjects: BTreeMap<String, String>,
    /// The claim that lists the provider's groups.
    pub groups_claim: String,
    /// Reviewers' groups that the provider must confirm, each with the provider's groups that
    /// confirm it.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Groups of the provider's: an admin must be in at least one of them. Empty: the role needs
    /// none.
    pub admin_groups: Vec<String>,
    /// Whether somebody who is not a reviewer may sign in, as a guest who only reads.
    pub allow_unknown: bool,
    /// How long a sign-in counts: its session, and what the provider said of groups.
    pub sign_in_life: Duration,
    /// How long one attempt to sign in may take, from leaving for the provider to coming back.
    pub attempt_life: Duration,
    /// Most attempts that signed nobody in, from one address within `people.sign_in_window`.
    pub max_attempts: u32,
    /// How long one answer of the provider may take.
    pub timeout: Duration,
    /// Largest answer of the provider, bytes.
    pub max_answer: usize,
    /// How long the provider's description and keys are kept.
    pub metadata_life: Duration,
}

impl Oidc {
    /// Whether groups or the admin role need the provider's confirmation.
    pub fn narrows(&self) -> bool {
        !self.groups.is_empty() || !self.admin_groups.is_empty()
    }

    /// Those of these groups of the provider's that the configuration mentions.
    pub fn mentioned(&self, groups: &[String]) -> Vec<String> {
        let known = |group: &&String| {
            self.groups.values().chain([&self.admin_groups]).any(|list| list.contains(group))
        };
        groups.iter().filter(known).cloned().collect()
    }
}

/// Reads `[oidc]`; none where it is off.
pub(crate) fn oidc(s: &Section<'_>) -> Option<Oidc> {
    let issuer = s.parsed("issuer", Show::Value, issuer);
    let client_id = s.text("client_id").filter(|id| !id.is_empty());
    let words = [("email", Identify::Email), ("sub", Identify::Subject)];
    let oidc = Oidc {
        issuer: issuer.unwrap_or_default(),
        client_secret: secret::read_optional(s, CLIENT_SECRET),
        client_id: client_id.clone().unwrap_or_default(),
        scopes: s.list("scopes", scope).unwrap_or_default(),
        label: s.parsed("label", Show::Value, label).unwrap_or_default(),
        identify: s.word("claim", &words).unwrap_or(Identify::Email),
        subjects: subjects(s),
        groups_claim: s.parsed("groups_claim", Show::Value, claim).unwrap_or_default(),
        groups: groups(s),
        admin_groups: s.list("admin_groups", provider_group).unwrap_or_default(),
        allow_unknown: s.flag("allow_unknown").unwrap_or_default(),
        sign_in_life: s.positive("sign_in_life").unwrap_or_default(),
        attempt_life: s.positive("attempt_life").unwrap_or_default(),
        max_attempts: s.count("max_attempts").unwrap_or_default(),
        timeout: s.positive("timeout").unwrap_or_default(),
        max_answer: s.size("max_answer").unwrap_or_default(),
        metadata_life: s.positive("metadata_life").unwrap_or_default(),
    };
    let on = s.is_given("issuer");
    let also: Vec<&str> = ["client_id", "groups", "subjects", "admin_groups", "allow_unknown"]
        .into_iter()
        .filter(|key| s.is_given(key))
        .chain(CLIENT_SECRET.is_given(s).then_some("client_secret"))
        .collect();
    if !on && !also.is_empty() {
        let message = format!(
            "is missing, so that {} does nothing; give the provider's issuer, or remove it",
            also.join(", ")
        );
        s.reader.error(s.at("issuer"), message);
    }
    if on && client_id.is_none() {
        s.reader.error(s.at("client_id"), "is missing; the provider gives it to Placet");
    }
    s.finish();
    on.then_some(oidc)
}

/// Reads the issuer: the provider's name for itself. It is kept as it stands, because it is
/// compared as text and never normalised.
///
/// <https://www.rfc-editor.org/rfc/rfc8414#section-2>,
/// <https://www.rfc-editor.org/rfc/rfc9207#section-2.4>
fn issuer(text: &str) -> Result<String, String> {
    let expected = "expected the issuer exactly as the provider names itself, as in \
                    https://login.example.org/realms/main; without query or fragment";
    let url = Url::parse(text).map_err(|_| expected.to_owned())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !plain {
        return Err(expected.to_owned());
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err("must begin with https://: over http anybody on the way could sign in as \
                    anybody; only a provider on this machine may be without"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// Whether an address is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Reads one scope.
///
/// <https://www.rfc-editor.org/rfc/rfc6749#section-3.3>
fn scope(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if text.is_empty() || !text.bytes().all(fits) {
        return Err("expected a scope, as in email; several are several strings".to_owned());
    }
    Ok(text.to_owned())
}

fn label(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().count() > MAX_LABEL {
        return Err(format!("expected 1 to {MAX_LABEL} characters, as in \"Example Login\""));
    }
    Ok(text.trim().to_owned())
}

fn claim(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("expected a claim, as in groups".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn provider_group(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("expected a group as the provider calls it".to_owned());
    }
    Ok(text.to_owned())
}

/// `subjects`: a reviewer's name and what the provider calls them.
fn subjects(s: &Section<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, subject) in s.free_table("subjects").into_iter().flatten() {
        let path = format!("{}.{name}", s.at("subjects"));
        let Some(subject) = subject.as_str() else {
            let message = format!("expected the sub in quotes, found {}", value::kind(subject));
            s.reader.error(path, message);
            continue;
        };
        let Some(subject) = s.reader.expand(&path, subject).filter(|s| !s.is_empty()) else {
            continue;
        };
        if let Some(other) = found.insert(subject, name.clone()) {
            let message = format!("is the sub of {other} too; each person has their own");
            s.reader.error(path, message);
        }
    }
    found
}

/// `groups`: a reviewers' group and the provider's groups that confirm it.
fn groups(s: &Section<'_>) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for (group, list) in s.free_table("groups").into_iter().flatten() {
        let path = format!("{}.{group}", s.at("groups"));
        let items = match list {
            Value::String(_) => std::slice::from_ref(list),
            Value::Array(items) => items,
            _ => &[],
        };
        let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
        if texts.is_empty() || texts.len() < items.len() || texts.contains(&"") {
            let expected = "expected the provider's groups that confirm it, as in [\"sre\"]";
            s.reader.error(path, expected);
            continue;
        }
        let expanded = texts.iter().filter_map(|text| s.reader.expand(&path, text)).collect();
        found.insert(group.clone(), expanded);
    }
    found
}

/// Checks what fits together only with the rest of the configuration.
pub(crate) fn check(reader: &Reader<'_>, config: &Config) {
    let Some(oidc) = &config.oidc else { return };
    let names = || config.reviewers.iter().map(|r| r.name.as_str());
    if config.implicit_owner {
        reader.error("oidc", "there are no [[reviewers]] who could sign in; add some");
        return;
    }
    match oidc.identify {
        Identify::Email => {
            if !oidc.scopes.iter().any(|s| s == "email") {
                let message =
                    "must hold \"email\" where claim is \"email\"; or set claim to \"sub\"";
                reader.error("oidc.scopes", message);
            }
            if config.reviewers.iter().all(|r| r.email.is_none()) {
                let message = "no reviewer has an email to be found by; give them one, or set \
                               claim to \"sub\" and list them in [oidc.subjects]";
                reader.error("oidc.claim", message);
            }
            if !oidc.subjects.is_empty() {
                let message = "counts only where claim is \"sub\"; set that, or remove it";
                reader.error("oidc.subjects", message);
            }
        }
        Identify::Subject if oidc.subjects.is_empty() => {
            let message = "is empty, and claim is \"sub\"; list each reviewer with their sub, as in \
                           ana = \"00u1…\"";
            reader.error("oidc.subjects", message);
        }
        Identify::Subject => {}
    }
    for name in oidc.subjects.values() {
        if config.reviewer(name).is_none() {
            let near = value::suggestion(name, names());
            let message = format!("no reviewer is called so{near}; add one to [[reviewers]]");
            reader.error(format!("oidc.subjects.{name}"), message);
        }
    }
    for group in oidc.groups.keys() {
        let members = || config.reviewers.iter().filter(|r| r.groups.contains(group));
        if members().next().is_none() {
            let all = config.reviewers.iter().flat_map(|r| &r.groups).map(String::as_str);
            let message = format!(
                "no reviewer is in a group {group:?}{}; the provider confirms groups that \
                 [[reviewers]] have, it gives none",
                value::suggestion(group, all)
            );
            reader.error(format!("oidc.groups.{group}"), message);
        }
        for member in members().filter(|r| !signs_in(oidc, r)) {
            let message = format!(
                "{} can't sign in through the provider, so that their approvals as one of this \
                 group never count; give them an email, or a line in [oidc.subjects]",
                member.name
            );
            reader.warn(format!("oidc.groups.{group}"), message);
        }
    }
    let admins = || config.reviewers.iter().filter(|r| r.role == Role::Admin);
    if !oidc.admin_groups.is_empty() && !admins().any(|r| signs_in(oidc, r)) {
        let message = "no admin can sign in through the provider, so that nobody could manage; the \
                       provider confirms the role that [[reviewers]] have, it gives none";
        reader.error("oidc.admin_groups", message);
    }
    let public = &config.server.public_url;
    if public.scheme() == "http" && !is_loopback(public) {
        let message = format!(
            "is not https, and the provider sends people back to {}: what it says could be read \
             on the way",
            config.link(CALLBACK)
        );
        reader.warn("server.public_url", message);
    }
}

/// Whether the provider can say that somebody is this reviewer.
pub(crate) fn signs_in(oidc: &Oidc, reviewer: &super::Reviewer) -> bool {
    match oidc.identify {
        Identify::Email => reviewer.email.is_some(),
        Identify::Subject => oidc.subjects.values().any(|name| *name == reviewer.name),
    }
}

#[cfg(test)]
mod tests;
