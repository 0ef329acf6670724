//! Signing in through the provider: `/sign-in/oidc` sends a browser there, `/sign-in/oidc/callback`
//! takes its answer.
//!
//! The beginning is a link and no form, for the policy of our pages lets a form's POST end here
//! only; it carries the token of the sign-in page, so that no other site can begin. The answer must
//! come to the browser that began, once, in time, and from the provider that is configured; only
//! then is anything of it looked at. Whatever is wrong makes one record and one page, which repeats
//! nothing that came with the request but an error's plain code.

use std::net::IpAddr;

use axum::extract::{Query, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::auth::csrf::{Bound, FORM_COOKIE};
use crate::auth::oidc::attempt;
use crate::auth::oidc::person::{self, Said, Stranger};
use crate::auth::oidc::provider::ProviderError;
use crate::auth::oidc::{Oidc, VIA_OIDC};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::json;
use crate::domain::visible_text::visible;
use crate::store::SignInBy;
use crate::store::oidc::ProviderClaims;

use super::Web;
use super::cookies::{self, add_cookie, signed_in};
use super::error::{Code, PageProblem, Problem, too_many};
use super::extract::{ClientAddress, encode, safe_next};
use super::session;
use super::view::Frame;

/// Longest value of an answer's parameter that is looked at, bytes.
const MAX_PARAMETER: usize = 4_096;
/// Longest `sub` in a record, characters.
const MAX_SUBJECT: usize = 200;
/// Longest code of a provider's error that is shown, bytes.
const MAX_ERROR: usize = 40;

/// What the button is called, and where it leads.
pub fn button(oidc: &Oidc, form_token: &str, next: &str) -> (String, String) {
    let path = attempt::COOKIE_PATH;
    let href = format!("{path}?form_token={}&next={}", encode(form_token), encode(next));
    (oidc.provider.settings().label.clone(), href)
}

/// What the button sends.
#[derive(Debug, Deserialize)]
pub struct Begin {
    form_token: Option<String>,
    next: Option<String>,
}

/// `GET /sign-in/oidc`: off to the provider.
pub async fn begin(
    State(web): State<Web>,
    ClientAddress(client): ClientAddress,
    Query(query): Query<Begin>,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let oidc = configured(&web)?;
    let next = safe_next(query.next.as_deref());
    if !was_shown(&web, &headers, query.form_token.as_deref()) {
        // Somebody else's page, or an old one of ours: the sign-in page shows the button anew.
        let path = format!("/sign-in?next={}", encode(next));
        return Ok(Redirect::to(&path).into_response());
    }
    let settings = oidc.provider.settings();
    if let Some(wait) = web.take_sign_in(SignInBy::Provider, &client, settings.max_attempts).await?
    {
        return Ok(too_many(wait, "too many sign-ins were begun and not ended"));
    }
    let now = web.broker.now();
    let token = web.broker.ids().token();
    let attempt = oidc.sealer.begin(&token, next, now, settings.attempt_life);
    let address =
        oidc.provider.address(&attempt, now).await.map_err(|error| unavailable(&error))?;
    let mut response = Redirect::to(address.as_str()).into_response();
    let life = settings.attempt_life.as_secs();
    add_cookie(&mut response, &cookie(&web, &attempt.cookie, life));
    Ok(response)
}

/// `GET /sign-in/oidc/callback`: the provider's answer.
pub async fn answer(
    State(web): State<Web>,
    ClientAddress(client): ClientAddress,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let oidc = configured(&web)?;
    let taken = take(&web, &oidc, query.as_deref().unwrap_or_default(), &headers).await;
    let mut response = match taken {
        Ok((next, person, said)) => {
            let cookie = sign_in(&web, &oidc, &person, &said, &headers).await?;
            web.give_back_sign_in(SignInBy::Provider, &client).await?;
            signed_in(&next, &cookie)
        }
        Err(refused) => refuse(&web, &oidc, &client, refused).await?,
    };
    // Used or of no use: either way it is gone.
    add_cookie(&mut response, &cookie(&web, "", 0));
    Ok(response)
}

/// Why nobody was signed in.
#[derive(Debug)]
struct Refused {
    /// The word of the record.
    why: String,
    /// What the person reads.
    problem: Problem,
    /// The provider's own account of it, for the log.
    detail: Option<String>,
    /// What the provider calls who came, where it was proven.
    subject: Option<String>,
    /// Whether it was counted when the attempt began.
    counted: bool,
}

impl Refused {
    fn new(why: &str, code: Code, detail: impl Into<String>) -> Self {
        Self {
            why: why.to_owned(),
            problem: Problem::new(code, detail),
            detail: None,
            subject: None,
            counted: true,
        }
    }

    /// An answer to nothing that this browser asked.
    fn stray(why: &str, detail: &str) -> Self {
        Self { counted: false, ..Self::new(why, Code::Forbidden, detail) }
    }

    fn of(stranger: Stranger, said: &Said, label: &str) -> Self {
        let text = match stranger {
            Stranger::Unverified => format!(
                "{label} does not say that your e-mail address is verified; verify it there and \
                 sign in again"
            ),
            Stranger::NoEmail => format!(
                "{label} did not say your e-mail address; whoever runs this server can have it \
                 told (oidc.scopes), or set oidc.claim"
            ),
            Stranger::Unknown => format!(
                "{label} knows you, but you are no reviewer here; ask whoever runs this server to \
                 add you"
            ),
        };
        Self {
            subject: Some(said.subject.clone()),
            ..Self::new(stranger.as_str(), Code::Forbidden, text)
        }
    }
}

impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Self {
        let problem = unavailable(&error);
        let detail = Some(error.to_string());
        Self { problem, detail, ..Self::new(error.as_str(), Code::Unavailable, "") }
    }
}

impl From<crate::store::StoreError> for Refused {
    fn from(error: crate::store::StoreError) -> Self {
        Self { problem: error.into(), ..Self::new("unavailable", Code::Unavailable, "") }
    }
}

/// What an answer carries.
#[derive(Debug, Default)]
struct Answer {
    state: String,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Reads an answer; none where a parameter comes twice or is longer than any is.
fn read(query: &str) -> Option<Answer> {
    let mut answer = Answer::default();
    let mut state = None;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let place = match &*key {
            "state" => &mut state,
            "code" => &mut answer.code,
            "iss" => &mut answer.iss,
            "error" => &mut answer.error,
            _ => continue,
        };
        if value.len() > MAX_PARAMETER || place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    answer.state = state?;
    Some(answer)
}

/// Looks at an answer, from the cheap to the dear: where to go, as whom, and what was said.
async fn take(
    web: &Web,
    oidc: &Oidc,
    query: &str,
    headers: &HeaderMap,
) -> Result<(String, Person, Said), Refused> {
    const AGAIN: &str = "this browser did not ask for that, or took too long, or asked again \
                         since; open the sign-in page and begin there";
    let now = web.broker.now();
    let attempt = cookies::cookie(headers, attempt::COOKIE)
        .and_then(|cookie| oidc.sealer.open(cookie, now))
        .ok_or_else(|| Refused::stray("no_attempt", AGAIN))?;
    let answer = read(query).ok_or_else(|| Refused::stray("unreadable_answer", AGAIN))?;
    if !attempt.fits(&answer.state) {
        return Err(Refused::stray("wrong_state", AGAIN));
    }
    if !web.broker.store().oidc().use_attempt(&attempt.hash(), attempt.expires_at).await? {
        return Err(Refused::stray("used_before", AGAIN));
    }
    oidc.provider.check_issuer(answer.iss.as_deref(), now).await?;
    if let Some(error) = answer.error {
        return Err(said_no(&error, &oidc.provider.settings().label));
    }
    let code = answer.code.filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| {
        let text = "the sign-in provider answered with neither a code nor an error; try again";
        Refused::new("no_code", Code::InvalidRequest, text)
    })?;
    let said = oidc.provider.redeem(&attempt, &code, now).await?;
    let person = who(web, oidc, &said)?;
    // It was checked before it was sealed; nothing is lost by doing so again.
    Ok((safe_next(Some(&attempt.next)).to_owned(), person, said))
}

/// Who somebody is here.
enum Person {
    Reviewer(String),
    /// Nobody, and may read.
    Guest(String),
}

fn who(web: &Web, oidc: &Oidc, said: &Said) -> Result<Person, Refused> {
    let settings = oidc.provider.settings();
    match person::reviewer(web.broker.config(), settings, said) {
        Ok(reviewer) => Ok(Person::Reviewer(reviewer.name.clone())),
        Err(stranger) => match person::guest(said).filter(|_| settings.allow_unknown) {
            Some(guest) => Ok(Person::Guest(guest)),
            None => Err(Refused::of(stranger, said, &settings.label)),
        },
    }
}

/// Stores the session, with what was said of its reviewer's groups where anything asks for that.
async fn sign_in(
    web: &Web,
    oidc: &Oidc,
    person: &Person,
    said: &Said,
    headers: &HeaderMap,
) -> Result<String, PageProblem> {
    let settings = oidc.provider.settings();
    let (Person::Reviewer(name) | Person::Guest(name)) = person;
    let (session, cookie) = session::make(&web.broker, name, VIA_OIDC, headers);
    let store = web.broker.store().oidc();
    if matches!(person, Person::Guest(_)) || !settings.narrows() {
        store.sign_in(&session, None).await?;
        return Ok(cookie);
    }
    let groups = said.groups.as_deref().unwrap_or_else(|| {
        tracing::warn!(
            "the sign-in provider says nothing of groups: there is no claim {}",
            settings.groups_claim
        );
        &[]
    });
    let claims = ProviderClaims {
        reviewer: session.reviewer.clone(),
        issuer: settings.issuer.clone(),
        subject: said.subject.clone(),
        groups: settings.mentioned(groups),
        said_at: session.created_at,
        expires_at: session.created_at.plus(settings.sign_in_life),
    };
    let quoted: Vec<String> = claims.groups.iter().map(|g| json::quote(&visible(g))).collect();
    let event = AuditEvent::new(Kind::GroupsConfirmed, &claims.reviewer, session.created_at)
        .with("subject", &shown_subject(&claims.subject))
        .with_raw("groups", format!("[{}]", quoted.join(",")))
        .with("expires_at", &claims.expires_at.to_string());
    store.sign_in(&session, Some((&claims, event))).await?;
    Ok(cookie)
}

/// Records that nobody was signed in, and says why. What no attempt stood behind is counted first,
/// so that nobody fills the records.
async fn refuse(
    web: &Web,
    oidc: &Oidc,
    client: &IpAddr,
    refused: Refused,
) -> Result<Response, PageProblem> {
    let most = oidc.provider.settings().max_attempts;
    if !refused.counted
        && let Some(wait) = web.take_sign_in(SignInBy::Provider, client, most).await?
    {
        return Ok(too_many(wait, "too many answers came that nobody asked for"));
    }
    tracing::warn!(
        why = %refused.why,
        detail = refused.detail.as_deref().unwrap_or_default(),
        "nobody was signed in through the provider"
    );
    let mut event = AuditEvent::new(Kind::SignInRefused, "placet", web.broker.now())
        .with("via", VIA_OIDC)
        .with("why", &refused.why);
    if let Some(subject) = &refused.subject {
        event = event.with("subject", &shown_subject(subject));
    }
    web.broker.record(vec![event]).await?;
    Ok(refused.problem.into_page(Frame::anonymous()))
}

fn shown_subject(subject: &str) -> String {
    visible(&subject.chars().take(MAX_SUBJECT).collect::<String>())
}

/// The provider's own refusal. Its code is shown where it is one; its description never is, since
/// whoever can make somebody open an address can write it.
fn said_no(error: &str, label: &str) -> Refused {
    let plain = error.len() <= MAX_ERROR
        && !error.is_empty()
        && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let code = if plain { error } else { "an error" };
    let text = match code {
        "access_denied" => {
            format!("{label} did not let you in, or you stopped there (access_denied)")
        }
        _ => format!("{label} could not sign you in ({code}); try again, or sign in another way"),
    };
    Refused::new(&format!("provider_said: {code}"), Code::Forbidden, text)
}

/// What a person reads when the provider fails them. Its own words are for the log.
fn unavailable(error: &ProviderError) -> Problem {
    match error {
        ProviderError::Unavailable(_) => Problem::new(
            Code::Unavailable,
            "the sign-in provider can't be reached, or does not work as it should; try again in a \
             minute, or sign in another way. Whoever runs this server finds more in its log",
        ),
        ProviderError::Refused(_) => Problem::new(
            Code::Forbidden,
            "the sign-in provider did not confirm that you signed in; try again. Whoever runs this \
             server finds more in its log",
        ),
        ProviderError::Invalid(_) => Problem::new(
            Code::Forbidden,
            "what the sign-in provider said does not prove who you are; nobody was signed in. \
             Whoever runs this server finds more in its log",
        ),
    }
}

fn configured(web: &Web) -> Result<std::sync::Arc<Oidc>, Problem> {
    web.oidc.clone().ok_or_else(|| {
        Problem::new(Code::NotFound, "no sign-in provider is set up here ([oidc] issuer)")
    })
}

/// Whether the button was shown to this browser by us.
fn was_shown(web: &Web, headers: &HeaderMap, token: Option<&str>) -> bool {
    let (Some(cookie), Some((nonce, mac))) =
        (cookies::cookie(headers, FORM_COOKIE), token.and_then(|t| t.rsplit_once('.')))
    else {
        return false;
    };
    bool::from(cookie.as_bytes().ct_eq(nonce.as_bytes()))
        && web.keys.fits(Bound::Nonce(cookie), mac)
}

/// `Set-Cookie` of an attempt: sent to its own paths only, and not for long.
fn cookie(web: &Web, value: &str, life_s: u64) -> String {
    let secure = match web.broker.config().server.public_url.scheme() {
        "https" => "; Secure",
        _ => "",
    };
    let (name, path) = (attempt::COOKIE, attempt::COOKIE_PATH);
    format!("{name}={value}; Path={path}; Max-Age={life_s}; HttpOnly; SameSite=Lax{secure}")
}
