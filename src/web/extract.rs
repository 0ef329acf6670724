//! What handlers take: a signed-in person for pages, a reviewer for the API, a form.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde::de::DeserializeOwned;

use crate::auth::csrf::Bound;
use crate::auth::personal_token::Scope;
use crate::auth::{Proven, bearer, client_address};
use crate::broker::people::sessions::SignedIn;
use crate::broker::people::token_holder::TokenRefused;
use crate::config::{Reviewer, Role};
use crate::domain::approval::Assurance;

use super::Web;
use super::api::body::unread;
use super::cookies;
use super::error::{Code, PageProblem, Problem};
use super::session;
use super::view::{Frame, Viewer};

/// Longest `next` that is remembered over a sign-in, bytes.
const MAX_NEXT: usize = 500;

/// Somebody signed in by cookie; others are sent to `/sign-in`.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The reviewer whose session it is.
    pub reviewer: Reviewer,
    assurance: Assurance,
    hash: String,
    form_token: String,
}

impl Page {
    fn new(web: &Web, signed_in: SignedIn) -> Self {
        let form_token = web.keys.token(Bound::Session(&signed_in.hash));
        Self {
            reviewer: signed_in.reviewer,
            assurance: signed_in.assurance,
            hash: signed_in.hash,
            form_token,
        }
    }

    /// The reviewer, and how they proved who they are.
    pub(crate) fn proven(&self) -> Proven<'_> {
        Proven { reviewer: &self.reviewer, assurance: self.assurance }
    }

    /// The frame of a page for this person.
    pub(crate) fn frame(&self, title: &str, here: &'static str) -> Frame {
        Frame {
            title: title.to_owned(),
            here,
            refresh: None,
            live: false,
            viewer: Some(Viewer {
                name: self.reviewer.name.clone(),
                form_token: self.form_token.clone(),
                reads_audit: self.reviewer.role.reads_all(),
                manages: self.reviewer.role == Role::Admin,
            }),
        }
    }

    /// The token of forms for this person.
    pub(crate) fn form_token(&self) -> &str {
        &self.form_token
    }

    /// The hash of the session's cookie.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// Refuses a form that we did not show to this session.
    ///
    /// # Errors
    /// `forbidden`: the token is missing, or is another session's.
    pub(crate) fn check_form(&self, web: &Web, token: Option<&str>) -> Result<(), Problem> {
        check_form(web, Bound::Session(&self.hash), token)
    }

    /// A problem as a page for this person.
    pub(crate) fn problem(&self, problem: impl Into<Problem>) -> Response {
        problem.into().into_page(self.frame("", ""))
    }
}

/// Refuses a form whose token is missing or another's.
///
/// # Errors
/// `forbidden`: the token is missing, or was made for something else.
pub(crate) fn check_form(web: &Web, bound: Bound<'_>, token: Option<&str>) -> Result<(), Problem> {
    if token.is_some_and(|t| web.keys.fits(bound, t)) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "this form was not shown to you by this server, or you have signed in anew since; \
         open the page again",
    ))
}

impl FromRequestParts<Web> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        match session::find(&web.broker, &parts.headers).await {
            Ok(Some(signed_in)) => Ok(Self::new(web, signed_in)),
            Ok(None) => Err(Redirect::to(&sign_in_path(&parts.uri, &parts.method)).into_response()),
            Err(error) => Err(PageProblem::from(error).into_response()),
        }
    }
}

fn sign_in_path(uri: &Uri, method: &axum::http::Method) -> String {
    let next = uri.path_and_query().map_or("/", |p| p.as_str());
    if method != axum::http::Method::GET || next == "/" || next.len() > MAX_NEXT {
        return "/sign-in".to_owned();
    }
    format!("/sign-in?next={}", encode(next))
}

/// A query value, percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Where to go after signing in: a path of this server, or `/`.
pub(crate) fn safe_next(next: Option<&str>) -> &str {
    let fine = |next: &&str| {
        next.starts_with('/')
            && next.len() <= MAX_NEXT
            && !next[1..].starts_with(['/', '\\'])
            && next.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\')
    };
    next.filter(fine).unwrap_or("/")
}

/// A reviewer by bearer token, or, for reading, by session cookie.
#[derive(Debug, Clone)]
pub(crate) struct Reader(pub Reviewer);

impl FromRequestParts<Web> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        if parts.headers.contains_key(axum::http::header::AUTHORIZATION) {
            return by_token(parts, web, Scope::Read).await.map(|(reviewer, _)| Self(reviewer));
        }
        match session::find(&web.broker, &parts.headers).await? {
            Some(signed_in) => Ok(Self(signed_in.reviewer)),
            None => Err(unauthorized()),
        }
    }
}

/// Whether the token or session that a stream began with still counts. It does not count as a use of
/// the session. While the store can't be read, yes.
pub(crate) async fn still_reads(web: &Web, reader: &Reviewer, headers: &HeaderMap) -> bool {
    if headers.contains_key(axum::http::header::AUTHORIZATION) {
        let Some(token) = bearer(headers) else { return false };
        let held = web.broker.token_holder(token, Scope::Read).await;
        return !matches!(held, Err(TokenRefused::Unknown | TokenRefused::Lacks(_)));
    }
    let cookie = cookies::cookie(headers, session::SESSION_COOKIE).unwrap_or_default();
    web.broker.session_lasts(cookie, &reader.name).await.unwrap_or(true)
}

/// A reviewer by bearer token, to decide.
#[derive(Debug, Clone)]
pub(crate) struct Decider {
    /// The reviewer whose token it is.
    pub reviewer: Reviewer,
    /// How they proved who they are.
    pub assurance: Assurance,
}

impl FromRequestParts<Web> for Decider {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let (reviewer, assurance) = by_token(parts, web, Scope::Decide).await?;
        Ok(Self { reviewer, assurance })
    }
}

/// A reviewer by bearer token, to withdraw, settle and revoke.
#[derive(Debug, Clone)]
pub(crate) struct Manager(pub Reviewer);

impl FromRequestParts<Web> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        by_token(parts, web, Scope::Manage).await.map(|(reviewer, _)| Self(reviewer))
    }
}

/// The reviewer whose token came with the request, where it is for that.
async fn by_token(
    parts: &Parts,
    web: &Web,
    scope: Scope,
) -> Result<(Reviewer, Assurance), Problem> {
    let token = bearer(&parts.headers).ok_or_else(unauthorized)?;
    let trusted = &web.broker.config().server.trusted_proxies;
    let client = client_address::of_request(&parts.headers, &parts.extensions, trusted);
    let (guesses, now) = (web.broker.guesses(), web.broker.now());
    if let Some(wait) = guesses.wait(client, token, now) {
        return Err(Problem::too_many(wait, "too many wrong tokens came from your address"));
    }
    match web.broker.token_holder(token, scope).await {
        Ok(holder) => {
            guesses.right(client, token, now);
            Ok(holder)
        }
        Err(TokenRefused::Unknown) => {
            guesses.wrong(client, now);
            Err(unauthorized())
        }
        Err(refused @ TokenRefused::Lacks(_)) => {
            guesses.right(client, token, now);
            Err(Problem::new(Code::Forbidden, refused.to_string()))
        }
        Err(TokenRefused::Store(error)) => Err(error.into()),
    }
}

fn unauthorized() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "send a reviewer's token as \"Authorization: Bearer …\"; an agent's token is not one",
    )
}

/// The IP address a request comes from, past trusted proxies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub IpAddr);

impl FromRequestParts<Web> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Infallible> {
        let trusted = &web.broker.config().server.trusted_proxies;
        Ok(Self(client_address::of_request(&parts.headers, &parts.extensions, trusted)))
    }
}

/// A posted form.
#[derive(Debug)]
pub(crate) struct Posted<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Web> for Posted<T> {
    type Rejection = PageProblem;

    async fn from_request(request: Request, web: &Web) -> Result<Self, PageProblem> {
        match Form::<T>::from_request(request, web).await {
            Ok(Form(form)) => Ok(Self(form)),
            Err(FormRejection::BytesRejection(rejection)) => Err(unread(&rejection).into()),
            Err(_) => Err(Problem::invalid("the form can't be read; open the page again").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_paths_are_followed_after_signing_in() {
        assert_eq!(safe_next(Some("/approvals/apr_1?full=1")), "/approvals/apr_1?full=1");
        for evil in
            ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "x", ""]
        {
            assert_eq!(safe_next(Some(evil)), "/", "{evil}");
        }
        assert_eq!(safe_next(None), "/");
    }

    #[test]
    fn a_page_is_remembered_over_the_sign_in_and_a_post_is_not() {
        let uri: Uri = "/approvals/x?full=1".parse().unwrap();

        assert_eq!(
            sign_in_path(&uri, &axum::http::Method::GET),
            "/sign-in?next=%2Fapprovals%2Fx%3Ffull%3D1"
        );
        assert_eq!(sign_in_path(&uri, &axum::http::Method::POST), "/sign-in");
    }
}
