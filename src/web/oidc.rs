//! Signing in through the provider: `/sign-in/oidc` sends a browser there, `/sign-in/oidc/callback`
//! takes its answer.
//!
//! It begins with a link and not with a form, since the content security policy of our pages lets
//! a form's POST end only here. The link carries the token of the sign-in page, so that no other
//! site can begin. The answer must come to the browser that began, once, in time, and from the
//! provider that is configured; only then is anything of it looked at. An answer that is refused
//! makes one record and one page, which repeats nothing that came with the request but an error's
//! plain code.

use std::net::IpAddr;

use axum::extract::{Query, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::auth::csrf::{Bound, FORM_COOKIE};
use crate::auth::oidc::Oidc;
use crate::auth::oidc::attempt;
use crate::auth::oidc::person::{Identity, Stranger};
use crate::auth::oidc::provider::ProviderError;
use crate::broker::people::provider_sign_in::{Person, RefusedSignIn};
use crate::store::SignInBy;

use super::Web;
use super::cookies::{self, add_cookie};
use super::error::{Code, PageProblem, Problem, too_many};
use super::extract::{ClientAddress, encode, safe_next};
use super::session::{browser, signed_in};
use super::view::Frame;

/// Longest value of an answer's parameter that is looked at, bytes.
const MAX_PARAMETER: usize = 4_096;
/// Longest code of a provider's error that is shown, bytes.
const MAX_ERROR: usize = 40;

/// What the button is called, and where it leads.
pub(crate) fn button(oidc: &Oidc, form_token: &str, next: &str) -> (String, String) {
    let path = attempt::COOKIE_PATH;
    let href = format!("{path}?form_token={}&next={}", encode(form_token), encode(next));
    (oidc.provider.settings().label.clone(), href)
}

/// What the button sends.
#[derive(Debug, Deserialize)]
pub(crate) struct Begin {
    form_token: Option<String>,
    next: Option<String>,
}

/// `GET /sign-in/oidc`: off to the provider.
///
/// # Errors
/// No provider is configured or it can't be used, or the store failed; shown as a page.
pub(crate) async fn begin(
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
    if let Some(wait) = web.broker.count_sign_in(SignInBy::Provider, client).await? {
        return Ok(too_many(wait, "too many sign-ins were begun and not ended"));
    }
    let settings = oidc.provider.settings();
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
///
/// # Errors
/// No provider is configured, or the store failed. A sign-in that is refused is no error here: it
/// is recorded and shown as a page.
pub(crate) async fn answer(
    State(web): State<Web>,
    ClientAddress(client): ClientAddress,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let oidc = configured(&web)?;
    let taken = take(&web, &oidc, query.as_deref().unwrap_or_default(), &headers).await;
    let mut response = match taken {
        Ok((next, person, said)) => {
            let browser = browser(&headers);
            let cookie = web.broker.sign_in_by_provider(&person, &said, client, browser).await?;
            signed_in(&web.broker, &next, &cookie)
        }
        Err(refused) => refuse(&web, client, refused).await?,
    };
    // The attempt is over, whatever came of it: its cookie goes.
    add_cookie(&mut response, &cookie(&web, "", 0));
    Ok(response)
}

/// Why nobody was signed in.
#[derive(Debug)]
struct Refused {
    /// What is recorded.
    record: RefusedSignIn,
    /// What the person reads.
    problem: Problem,
}

impl Refused {
    fn new(why: &str, code: Code, detail: impl Into<String>) -> Self {
        Self::with(why, Problem::new(code, detail))
    }

    fn with(why: &str, problem: Problem) -> Self {
        let why = why.to_owned();
        let record = RefusedSignIn { why, detail: None, subject: None, counted: true };
        Self { record, problem }
    }

    /// Refuses an answer to an attempt that this browser did not begin.
    fn stray(why: &str, detail: &str) -> Self {
        let mut refused = Self::new(why, Code::Forbidden, detail);
        refused.record.counted = false;
        refused
    }

    fn of(stranger: Stranger, said: &Identity, label: &str) -> Self {
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
        let mut refused = Self::new(stranger.as_str(), Code::Forbidden, text);
        refused.record.subject = Some(said.subject.clone());
        refused
    }
}

impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Self {
        let mut refused = Self::with(error.as_str(), unavailable(&error));
        refused.record.detail = Some(error.to_string());
        refused
    }
}

impl From<crate::store::StoreError> for Refused {
    fn from(error: crate::store::StoreError) -> Self {
        Self::with("unavailable", error.into())
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

/// Reads an answer; none where `state` is missing, or a parameter comes twice
/// (<https://www.rfc-editor.org/rfc/rfc6749#section-3.1>) or is longer than [`MAX_PARAMETER`].
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

/// Checks an answer, the cheap checks first. Returns where to go, as whom, and what was said.
async fn take(
    web: &Web,
    oidc: &Oidc,
    query: &str,
    headers: &HeaderMap,
) -> Result<(String, Person, Identity), Refused> {
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
    if !web.broker.use_attempt(&attempt).await? {
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
    let person = web
        .broker
        .person_of(&said)
        .map_err(|stranger| Refused::of(stranger, &said, &oidc.provider.settings().label))?;
    // It was checked before it was sealed; nothing is lost by doing so again.
    Ok((safe_next(Some(&attempt.next)).to_owned(), person, said))
}

/// Records that nobody was signed in, and says why.
async fn refuse(web: &Web, client: IpAddr, refused: Refused) -> Result<Response, PageProblem> {
    if let Some(wait) = web.broker.refuse_sign_in(&refused.record, client).await? {
        return Ok(too_many(wait, "too many answers came that nobody asked for"));
    }
    Ok(refused.problem.into_page(Frame::anonymous()))
}

/// The provider's own refusal (<https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1>). A code in
/// plain letters is shown; the description never is, since anybody who can make a person open an
/// address can write it.
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
