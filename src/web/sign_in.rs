//! Signing in: by a mailed one-time link, or with the reviewer's own token; and out again.
//!
//! Nothing here tells whether an address is known. Forms shown before there is a session are
//! bound to a cookie's nonce, so that no other site can sign a visitor in as somebody else.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::auth::csrf::{Bound, FORM_COOKIE};
use crate::broker::people::sign_in::ByToken;
use crate::domain::time::in_words;
use crate::store::SignInBy;
use crate::store::StoreError;

use super::Web;
use super::cookies::{self, add_cookie};
use super::error::{Code, PageProblem, Problem, too_many};
use super::extract::{ClientAddress, Page, Posted, check_form, encode, safe_next};
use super::oidc;
use super::session::{SESSION_COOKIE, browser, signed_in};
use super::view::{Frame, page};

/// `?next=PATH`: where to go after signing in.
#[derive(Debug, Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
}

/// The fields of the forms here.
#[derive(Debug, Deserialize)]
pub(crate) struct Fields {
    email: Option<String>,
    token: Option<String>,
    next: Option<String>,
    form_token: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    form_token: String,
    next: String,
    /// The provider's button: what it is called, and where it leads.
    provider: Option<(String, String)>,
    mails: bool,
    sent: bool,
    /// How long a mailed link works.
    life: String,
    wrong_token: bool,
}

#[derive(Debug, Template)]
#[template(path = "sign_in_confirm.html")]
struct ConfirmPage {
    frame: Frame,
    form_token: String,
    action: String,
    next: String,
    name: String,
}

/// The nonce of this browser, and the cookie to set where it is new.
struct Nonce {
    value: String,
    fresh: bool,
}

impl Nonce {
    fn of(web: &Web, headers: &HeaderMap) -> Self {
        match cookies::cookie(headers, FORM_COOKIE) {
            Some(value) => Self { value: value.to_owned(), fresh: false },
            None => Self { value: web.broker.ids().token(), fresh: true },
        }
    }

    fn form_token(&self, web: &Web) -> String {
        format!("{}.{}", self.value, web.keys.token(Bound::Nonce(&self.value)))
    }

    fn set(&self, web: &Web, mut response: Response) -> Response {
        if self.fresh {
            add_cookie(&mut response, &cookies::set_cookie(&web.broker, FORM_COOKIE, &self.value));
        }
        response
    }
}

/// Refuses a form that this browser was not shown. A browser says where a POST comes from, and
/// must bring the cookie the form was bound to; a program says nothing and can't be led here by
/// somebody else's page, so the form's own token is enough.
fn check_nonce(web: &Web, headers: &HeaderMap, token: Option<&str>) -> Result<(), Problem> {
    let (nonce, mac) = token.and_then(|t| t.rsplit_once('.')).unwrap_or_default();
    let cookie = cookies::cookie(headers, FORM_COOKIE);
    if cookie.is_none() && headers.contains_key(header::ORIGIN) {
        return Err(Problem::new(
            Code::Forbidden,
            "this form was not shown to this browser; allow this site's cookies and open \
             the page again",
        ));
    }
    check_form(web, Bound::Nonce(cookie.unwrap_or(nonce)), Some(mac))
}

fn sign_in_page(
    web: &Web,
    nonce: &Nonce,
    next: &str,
    status: StatusCode,
    sent: bool,
    wrong_token: bool,
) -> Response {
    let template = SignInPage {
        frame: Frame::anonymous().titled("Sign in"),
        provider: web.oidc.as_ref().map(|oidc| oidc::button(oidc, &nonce.form_token(web), next)),
        form_token: nonce.form_token(web),
        next: next.to_owned(),
        mails: web.mailer.is_some(),
        sent,
        life: in_words(web.broker.config().people.link_life),
        wrong_token,
    };
    nonce.set(web, page(status, &template))
}

/// `GET /sign-in`: the page with the ways to sign in.
pub(crate) async fn show(
    State(web): State<Web>,
    Query(query): Query<Next>,
    headers: HeaderMap,
) -> Response {
    let nonce = Nonce::of(&web, &headers);
    let next = safe_next(query.next.as_deref());
    sign_in_page(&web, &nonce, next, StatusCode::OK, false, false)
}

/// `POST /sign-in`: an address to mail a link to, or a token.
///
/// # Errors
/// The form was not shown to this browser, is empty, or the store failed; shown as a page.
pub(crate) async fn submit(
    State(web): State<Web>,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    check_nonce(&web, &headers, fields.form_token.as_deref())?;
    let nonce = Nonce::of(&web, &headers);
    let next = safe_next(fields.next.as_deref()).to_owned();
    if let Some(token) = fields.token.as_deref().map(str::trim).filter(|t| !t.is_empty()) {
        return Ok(match web.broker.sign_in_by_token(token, client, browser(&headers)).await? {
            ByToken::SignedIn(cookie) => signed_in(&web.broker, &next, &cookie),
            ByToken::Wrong => sign_in_page(&web, &nonce, &next, StatusCode::FORBIDDEN, false, true),
            ByToken::TooMany(wait) => too_many(wait, "too many wrong tokens were tried"),
        });
    }
    let Some(email) = fields.email.as_deref().map(str::trim).filter(|e| !e.is_empty()) else {
        return Err(Problem::invalid("type your e-mail address, or your token").into());
    };
    if let Some(wait) = web.broker.count_sign_in(SignInBy::Mail, client).await? {
        return Ok(too_many(wait, "too many sign-in mails were asked for"));
    }
    mail_link(&web, email.to_owned(), next.clone());
    Ok(sign_in_page(&web, &nonce, &next, StatusCode::OK, true, false))
}

/// Mails a link if the address is a reviewer's. Beside the request, so that its answer takes the
/// same time either way.
fn mail_link(web: &Web, email: String, next: String) {
    let web = web.clone();
    let tracker = web.broker.tracker().clone();
    tracker.spawn(async move {
        if let Err(error) = try_mail_link(&web, &email, &next).await {
            tracing::error!(%error, "a sign-in link could not be made");
        }
    });
}

async fn try_mail_link(web: &Web, email: &str, next: &str) -> Result<(), StoreError> {
    let Some(mailer) = &web.mailer else { return Ok(()) };
    let Some((reviewer, token)) = web.broker.sign_in_to_mail(email).await? else { return Ok(()) };
    let next = if next == "/" { String::new() } else { format!("?next={}", encode(next)) };
    let link = web.broker.config().link(&format!("/sign-in/{token}{next}"));
    mailer.send_sign_in(reviewer, link).await;
    Ok(())
}

fn used_up() -> Problem {
    Problem::new(
        Code::NotFound,
        "this sign-in link was used, has run out or was cut off; ask for a new one",
    )
}

/// `GET /sign-in/{token}`: a button; looking signs nobody in.
///
/// # Errors
/// The link is used, expired or unknown, or the store failed; shown as a page.
pub(crate) async fn confirm(
    State(web): State<Web>,
    Path(token): Path<String>,
    Query(query): Query<Next>,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let name = web.broker.signs_in(&token).await?.ok_or_else(used_up)?;
    let nonce = Nonce::of(&web, &headers);
    let template = ConfirmPage {
        frame: Frame::anonymous().titled("Sign in"),
        form_token: nonce.form_token(&web),
        action: format!("/sign-in/{}", encode(&token)),
        next: safe_next(query.next.as_deref()).to_owned(),
        name,
    };
    Ok(nonce.set(&web, page(StatusCode::OK, &template)))
}

/// `POST /sign-in/{token}`: signs in, once.
///
/// # Errors
/// The form was not shown to this browser, the link is used, expired or unknown, or the store
/// failed.
pub(crate) async fn redeem(
    State(web): State<Web>,
    Path(token): Path<String>,
    headers: HeaderMap,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    check_nonce(&web, &headers, fields.form_token.as_deref())?;
    let cookie = web.broker.redeem_sign_in(&token, browser(&headers)).await?;
    let cookie = cookie.ok_or_else(used_up)?;
    Ok(signed_in(&web.broker, safe_next(fields.next.as_deref()), &cookie))
}

/// `POST /sign-out`: ends the session and removes its cookie.
///
/// # Errors
/// The form was not shown to this session, or the store failed.
pub(crate) async fn sign_out(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    who.check_form(&web, fields.form_token.as_deref())?;
    web.broker.sign_out(who.hash()).await?;
    let mut response = Redirect::to("/sign-in").into_response();
    add_cookie(&mut response, &cookies::remove_cookie(&web.broker, SESSION_COOKIE));
    Ok(response)
}
