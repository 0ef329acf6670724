//! Signing in: by a mailed one-time link, or with the reviewer's own token; and out again.
//!
//! Nothing here tells whether an address is known. Forms shown before there is a session are
//! bound to a cookie's nonce, so that no other site can sign a visitor in as somebody else.

use std::net::IpAddr;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::auth::csrf::{Bound, FORM_COOKIE};
use crate::auth::reviewer_by_token;
use crate::config::Reviewer;
use crate::domain::time::in_words;
use crate::id::token_hash;
use crate::store::{LimitKey, SignIn, SignInBy, StoreError};

use super::Web;
use super::cookies::{self, add_cookie, signed_in};
use super::error::{Code, PageProblem, Problem, too_many};
use super::extract::{ClientAddress, Page, Posted, check_form, encode, safe_next};
use super::oidc;
use super::session::{self, SESSION_COOKIE, VIA_LINK};
use super::view::{Frame, page};

/// Where to go afterwards.
#[derive(Debug, Deserialize)]
pub struct Next {
    next: Option<String>,
}

/// The fields of the forms here.
#[derive(Debug, Deserialize)]
pub struct Fields {
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

/// `GET /sign-in`
pub async fn show(
    State(web): State<Web>,
    Query(query): Query<Next>,
    headers: HeaderMap,
) -> Response {
    let nonce = Nonce::of(&web, &headers);
    let next = safe_next(query.next.as_deref());
    sign_in_page(&web, &nonce, next, StatusCode::OK, false, false)
}

/// `POST /sign-in`: an address to mail a link to, or a token.
pub async fn submit(
    State(web): State<Web>,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    check_nonce(&web, &headers, fields.form_token.as_deref())?;
    let nonce = Nonce::of(&web, &headers);
    let next = safe_next(fields.next.as_deref()).to_owned();
    if let Some(token) = fields.token.as_deref().map(str::trim).filter(|t| !t.is_empty()) {
        let most = web.broker.config().people.sign_in_tokens;
        if let Some(wait) = web.take_sign_in(SignInBy::Token, &client, most).await? {
            return Ok(too_many(wait, "too many wrong tokens were tried"));
        }
        let Some(reviewer) = reviewer_by_token(web.broker.config(), token) else {
            return Ok(sign_in_page(&web, &nonce, &next, StatusCode::FORBIDDEN, false, true));
        };
        // It was taken before the token was looked at, so that no guess is for nothing; people
        // behind one address don't use it up for each other.
        web.give_back_sign_in(SignInBy::Token, &client).await?;
        let (session, cookie) = session::make(&web.broker, &reviewer.name, "token", &headers);
        web.broker.store().sessions().insert(&session).await?;
        return Ok(signed_in(&next, &cookie));
    }
    let Some(email) = fields.email.as_deref().map(str::trim).filter(|e| !e.is_empty()) else {
        return Err(Problem::invalid("type your e-mail address, or your token").into());
    };
    let most = web.broker.config().people.sign_in_requests;
    if let Some(wait) = web.take_sign_in(SignInBy::Mail, &client, most).await? {
        return Ok(too_many(wait, "too many sign-in mails were asked for"));
    }
    mail_link(&web, email.to_owned(), next.clone());
    Ok(sign_in_page(&web, &nonce, &next, StatusCode::OK, true, false))
}

impl Web {
    /// Counts one try of this client against its window; milliseconds to wait beyond `most`.
    pub(super) async fn take_sign_in(
        &self,
        by: SignInBy,
        client: &IpAddr,
        most: u32,
    ) -> Result<Option<u64>, StoreError> {
        let now = self.broker.now();
        let since = now.minus(self.broker.config().people.sign_in_window);
        self.broker.store().limits().take(&LimitKey::SignIn(by, *client), most, since, now).await
    }

    /// Takes back what was counted last.
    pub(super) async fn give_back_sign_in(
        &self,
        by: SignInBy,
        client: &IpAddr,
    ) -> Result<(), StoreError> {
        self.broker.store().limits().give_back(&LimitKey::SignIn(by, *client)).await
    }
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
    let now = web.broker.now();
    let address = email.to_lowercase();
    let people = &web.broker.config().people;
    let key = LimitKey::SignInMail(token_hash(&address));
    let store = web.broker.store();
    if store
        .limits()
        .take(&key, people.sign_in_mails, now.minus(people.sign_in_window), now)
        .await?
        .is_some()
    {
        tracing::warn!("too many sign-in mails were asked for one address; none was sent");
        return Ok(());
    }
    let same = |r: &&Reviewer| r.email.as_ref().is_some_and(|e| e.to_lowercase() == address);
    let Some(reviewer) = web.broker.config().reviewers.iter().find(same) else { return Ok(()) };
    let Some(mailer) = &web.mailer else { return Ok(()) };
    let token = web.broker.ids().token();
    let sign_in = SignIn { reviewer: reviewer.name.clone(), via: VIA_LINK.to_owned() };
    store
        .sessions()
        .insert_sign_in(&token_hash(&token), &sign_in, now.plus(people.link_life))
        .await?;
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
pub async fn confirm(
    State(web): State<Web>,
    Path(token): Path<String>,
    Query(query): Query<Next>,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let sign_in = web
        .broker
        .store()
        .sessions()
        .find_sign_in(&token_hash(&token), web.broker.now())
        .await?
        .ok_or_else(used_up)?;
    let nonce = Nonce::of(&web, &headers);
    let template = ConfirmPage {
        frame: Frame::anonymous().titled("Sign in"),
        form_token: nonce.form_token(&web),
        action: format!("/sign-in/{}", encode(&token)),
        next: safe_next(query.next.as_deref()).to_owned(),
        name: sign_in.reviewer,
    };
    Ok(nonce.set(&web, page(StatusCode::OK, &template)))
}

/// `POST /sign-in/{token}`: signs in, once.
pub async fn redeem(
    State(web): State<Web>,
    Path(token): Path<String>,
    headers: HeaderMap,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    check_nonce(&web, &headers, fields.form_token.as_deref())?;
    let hash = token_hash(&token);
    let now = web.broker.now();
    let store = web.broker.store();
    let SignIn { reviewer: name, via } =
        store.sessions().find_sign_in(&hash, now).await?.ok_or_else(used_up)?;
    if web.broker.config().reviewer(&name).is_none() {
        return Err(used_up().into());
    }
    let (session, cookie) = session::make(&web.broker, &name, &via, &headers);
    if !store.sessions().consume_sign_in(&hash, &session, now).await? {
        return Err(used_up().into());
    }
    Ok(signed_in(safe_next(fields.next.as_deref()), &cookie))
}

/// `POST /sign-out`
pub async fn sign_out(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    who.check_form(&web, fields.form_token.as_deref())?;
    web.broker.store().sessions().delete(who.hash()).await?;
    let mut response = Redirect::to("/sign-in").into_response();
    add_cookie(&mut response, &cookies::remove_cookie(&web.broker, SESSION_COOKIE));
    Ok(response)
}
