//! What goes wrong, said twice: to programs as problem details
//! (<https://www.rfc-editor.org/rfc/rfc9457#section-3>), to people as a page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::broker::DecideError;
use crate::domain::approval::{Approval, Refusal, State};
use crate::domain::approval_json::{Detail, approval_json};
use crate::domain::json;
use crate::domain::mask::Masker;
use crate::store::StoreError;

use super::view::{ErrorPage, Frame, page};

/// The stable codes of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// No valid token or session.
    Unauthorized,
    /// Not there, or not to be seen.
    NotFound,
    /// The role does not allow it.
    Forbidden,
    /// Not among the reviewers asked.
    NotEligible,
    /// The reviewer's own agent.
    OwnAgent,
    /// The request breaks the rules of HTTP.
    BadRequest,
    /// The request is wrong.
    InvalidRequest,
    /// Time ran out.
    Expired,
    /// Somebody was first.
    AlreadyDecided,
    /// Another call was shown than is stored.
    DigestMismatch,
    /// Too late to withdraw.
    NotCancellable,
    /// Nothing to settle.
    NotIndeterminate,
    /// The indeterminate call was settled before.
    AlreadySettled,
    /// The body is too large.
    TooLarge,
    /// The path does not take the method.
    MethodNotAllowed,
    /// Too many requests.
    TooManyRequests,
    /// The store can't be reached.
    Unavailable,
}

impl Code {
    /// The word of the member `code`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::NotEligible => "not_eligible",
            Self::OwnAgent => "own_agent",
            Self::BadRequest => "bad_request",
            Self::InvalidRequest => "invalid_request",
            Self::Expired => "expired",
            Self::AlreadyDecided => "already_decided",
            Self::DigestMismatch => "digest_mismatch",
            Self::NotCancellable => "not_cancellable",
            Self::NotIndeterminate => "not_indeterminate",
            Self::AlreadySettled => "already_settled",
            Self::TooLarge => "too_large",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooManyRequests => "too_many_requests",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status it is answered with.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::NotEligible | Self::OwnAgent => StatusCode::FORBIDDEN,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Expired
            | Self::AlreadyDecided
            | Self::DigestMismatch
            | Self::NotCancellable
            | Self::NotIndeterminate
            | Self::AlreadySettled => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code in words, the same for every occurrence
    /// (<https://www.rfc-editor.org/rfc/rfc9457#section-3.1.3>).
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Unauthorized => "Sign in first",
            Self::NotFound => "Not found",
            Self::Forbidden => "Not allowed",
            Self::NotEligible => "You are not among the reviewers",
            Self::OwnAgent => "Your own agent's call",
            Self::BadRequest => "The request can't be read",
            Self::InvalidRequest => "The request is not valid",
            Self::Expired => "Too late",
            Self::AlreadyDecided => "Already decided",
            Self::DigestMismatch => "Not the call that was shown",
            Self::NotCancellable => "It can't be withdrawn",
            Self::NotIndeterminate => "There is nothing to settle",
            Self::AlreadySettled => "Already settled",
            Self::TooLarge => "The request is too large",
            Self::MethodNotAllowed => "Method not allowed",
            Self::TooManyRequests => "Too many requests",
            Self::Unavailable => "Not available right now",
        }
    }

    /// The code under which a refusal of the domain is answered.
    pub(crate) const fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotEligible => Self::NotEligible,
            Refusal::OwnAgent | Refusal::OwnAgentSettled => Self::OwnAgent,
            Refusal::Auditor
            | Refusal::SignIn
            | Refusal::OldLink
            | Refusal::TooWeak(_)
            | Refusal::Unconfirmed
            | Refusal::NotTheirsToWithdraw
            | Refusal::NotAdmin => Self::Forbidden,
            Refusal::DigestMismatch => Self::DigestMismatch,
            Refusal::Expired | Refusal::AlreadyDecided(State::Expired) => Self::Expired,
            Refusal::AlreadyDecided(_) | Refusal::WrongState(_) | Refusal::Repeated => {
                Self::AlreadyDecided
            }
            Refusal::NotCancellable(_) => Self::NotCancellable,
            Refusal::NotIndeterminate(_) => Self::NotIndeterminate,
            Refusal::AlreadySettled => Self::AlreadySettled,
        }
    }
}

/// An error, and the approval it is about where somebody was faster.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The stable code, from which status and title follow.
    pub code: Code,
    /// What is wrong, and how to put it right; a sentence.
    pub detail: String,
    /// The approval as it stands, for conflicts.
    pub approval: Option<Box<Approval>>,
    /// Milliseconds after which it may be tried again; none: nothing is said of it.
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem with this code; `detail` is a sentence for people.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), approval: None, retry_after_ms: None }
    }

    /// A problem with the code `invalid_request`.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// Too much was tried: `wait_ms` is when it may be tried again.
    pub(crate) fn too_many(wait_ms: u64, detail: impl Into<String>) -> Self {
        Self { retry_after_ms: Some(wait_ms), ..Self::new(Code::TooManyRequests, detail) }
    }

    /// The problem as JSON; an approval in it is masked, and left out without a masker.
    pub(crate) fn to_json(&self, masker: Option<&Masker>) -> String {
        let kind = json::quote(&format!("urn:placet:problem:{}", self.code.as_str()));
        let mut pairs = vec![
            ("type", kind),
            ("title", json::quote(self.code.title())),
            ("status", self.code.status().as_u16().to_string()),
            ("detail", json::quote(&self.detail)),
            ("code", json::quote(self.code.as_str())),
        ];
        if let (Some(approval), Some(masker)) = (&self.approval, masker) {
            pairs.push(("approval", approval_json(approval, Detail::Masked(masker))));
        }
        json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())))
    }

    /// The problem as `application/problem+json`; a 401 names the scheme
    /// (<https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>).
    pub(crate) fn respond(&self, masker: Option<&Masker>) -> Response {
        let mut response = (
            self.code.status(),
            [(header::CONTENT_TYPE, "application/problem+json")],
            self.to_json(masker),
        )
            .into_response();
        if self.code == Code::Unauthorized {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after_ms {
            // In whole seconds (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
            response.headers_mut().insert(header::RETRY_AFTER, wait.div_ceil(1000).into());
        }
        response
    }

    /// The problem as a page for a person.
    pub(crate) fn into_page(self, frame: Frame) -> Response {
        let status = self.code.status();
        page(status, &ErrorPage { frame: frame.titled(self.code.title()), detail: self.detail })
    }
}

/// The page for an address from which too much was tried; `what` says what. `wait_ms` is rounded up
/// to the seconds of `Retry-After` (<https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>).
pub(crate) fn too_many(wait_ms: u64, what: &str) -> Response {
    let problem = Problem::new(
        Code::TooManyRequests,
        format!("{what} from your address; try again in a few minutes"),
    );
    let mut response = problem.into_page(Frame::anonymous());
    response.headers_mut().insert(header::RETRY_AFTER, wait_ms.div_ceil(1000).into());
    response
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(None)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed a request");
        let said = match &error {
            StoreError::Unknown(_) => {
                "the database was lost while it stored this, and it is not known whether it did: \
                 look again before you repeat it"
            }
            StoreError::Conflict(_) => {
                "others changed it at the same time, again and again; your change was not stored, \
                 try again"
            }
            refused if refused.was_refused() => {
                "the database did not take it, which the log says more about; nothing was changed"
            }
            StoreError::Unavailable(_) => {
                "the database can't be used right now; nothing was changed"
            }
            StoreError::Corrupt { .. } => {
                "what the database holds of it is damaged and can't be read; nothing was changed. \
                 Trying again will not help: the log says what is damaged"
            }
        };
        Self::new(Code::Unavailable, said)
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::NotFound => {
                Self::new(Code::NotFound, "there is no such approval, or it is not yours to see")
            }
            DecideError::Forbidden(why) => Self::new(Code::Forbidden, why),
            DecideError::Invalid(why) => Self::invalid(why),
            DecideError::Refused { refusal, approval } => {
                let code = Code::of(refusal);
                let conflict = code.status() == StatusCode::CONFLICT;
                let approval = conflict.then_some(approval);
                Self { approval, ..Self::new(code, refusal.to_string()) }
            }
            DecideError::Store(error) => error.into(),
        }
    }
}

/// A problem shown as a page without a signed-in frame.
#[derive(Debug)]
pub(crate) struct PageProblem(pub Problem);

impl<E: Into<Problem>> From<E> for PageProblem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        self.0.into_page(Frame::anonymous())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_was_not_stored_is_told_as_unchanged() {
        let lost = Problem::from(StoreError::lost());
        let away = Problem::from(StoreError::away());

        assert!(lost.detail.contains("not known") && !lost.detail.contains("nothing was changed"));
        assert!(away.detail.contains("nothing was changed"), "{}", away.detail);
        assert_eq!(lost.code, Code::Unavailable);
    }
}
