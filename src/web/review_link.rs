//! `/review/{token}`: the page behind a mailed link. Mail scanners open it, so looking changes
//! nothing; the decision is the post of its form, which carries a token made from the link.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::auth::csrf::Bound;
use crate::broker::people::review_link::{Followed, LinkLost};
use crate::broker::people::rights::Rights;
use crate::config::Reviewer;
use crate::domain::approval::{Approval, Assurance, Refusal, State as Stands, Via};
use crate::id::token_hash;

use super::Web;
use super::approval::{DecidedPage, Fields, Options, ShowPage, check_seen, refused_page};
use super::arguments::Show;
use super::call_context::{Beside, beside};
use super::call_view::{CallView, progress};
use super::error::{Code, PageProblem, Problem};
use super::extract::{Posted, check_form};
use super::session;
use super::view::{ErrorPage, Frame, page, verb};

/// What a link leads to now.
enum Link {
    /// Its call, to be decided.
    Live(Box<Live>),
    /// Its reviewer has decided, or nobody can any more.
    Dead(Box<Live>),
    /// It was ended: nothing of the call is told.
    Ended(String),
    /// Somebody else is signed in here.
    Foreign { addressee: String, viewer: String },
}

struct Live {
    approval: Approval,
    reviewer: Reviewer,
    rights: Rights,
    hash: String,
    sign_in: Option<&'static str>,
}

async fn follow(web: &Web, token: &str, headers: &HeaderMap) -> Result<Link, PageProblem> {
    let hash = token_hash(token);
    let Followed { approval, reviewer, rights, dead } = match web.broker.follow_link(&hash).await {
        Ok(followed) => followed,
        Err(ended @ LinkLost::Ended) => return Ok(Link::Ended(ended.to_string())),
        Err(LinkLost::Store(error)) => return Err(error.into()),
        Err(lost @ LinkLost::Unknown) => {
            return Err(Problem::new(Code::NotFound, lost.to_string()).into());
        }
    };
    let sign_in = rights.reject.err().and_then(Refusal::hint);
    let live = Box::new(Live { approval, reviewer, rights, hash, sign_in });
    if dead {
        return Ok(Link::Dead(live));
    }
    let viewer = session::find(&web.broker, headers).await?.map(|s| s.reviewer.name);
    match viewer {
        Some(viewer) if viewer != live.reviewer.name => {
            Ok(Link::Foreign { addressee: live.reviewer.name, viewer })
        }
        _ => Ok(Link::Live(live)),
    }
}

fn frame() -> Frame {
    Frame::anonymous()
}

fn dead_page(web: &Web, live: &Live) -> Response {
    let Live { approval, reviewer, .. } = live;
    let heading = match (approval.state, approval.decision_of(&reviewer.name)) {
        (Stands::Pending, Some(own)) => {
            format!("You have {} this; {} so far", verb(own.choice), progress(approval))
        }
        (Stands::Pending | Stands::Expired, _) => "Too late: nobody decided in time".to_owned(),
        (_, Some(own)) => format!("You have {} this", verb(own.choice)),
        (Stands::Cancelled, None) => "Withdrawn: there is nothing to decide any more".to_owned(),
        (_, None) => match approval.deciding() {
            Some(d) => format!("Already {} by {}", verb(d.choice), d.reviewer),
            None => "There is nothing to decide any more".to_owned(),
        },
    };
    page(StatusCode::GONE, &DecidedPage::new(web, frame(), heading, approval))
}

fn ended_page(why: String) -> Response {
    page(StatusCode::GONE, &ErrorPage { frame: frame(), detail: why })
}

fn foreign_problem(addressee: &str, viewer: &str) -> Problem {
    Problem::new(
        Code::Forbidden,
        format!(
            "This link was sent to {addressee}, and you are signed in as {viewer}. \
             Only {addressee} can decide with it; what waits for you is in your queue."
        ),
    )
}

async fn call_page(web: &Web, token: &str, live: Live, show: Show) -> Response {
    // It helps to judge, and deciding goes without. Other calls than this are for who signs in.
    let beside = beside(&web.broker, &live.approval, &live.reviewer).await.unwrap_or_default();
    let beside = Beside { recent: Vec::new(), ..beside };
    let name = &live.reviewer.name;
    let mut call = CallView::new(&web.broker, &live.approval, name, live.rights, show);
    // To sign in comes first, and is said in place of the buttons.
    call.why_not = call.why_not.filter(|_| live.sign_in.is_none());
    page(
        StatusCode::OK,
        &ShowPage {
            frame: frame().titled(&call.tool),
            call,
            by_passkey: false,
            base: format!("/review/{token}"),
            form_token: web.keys.token(Bound::Review(&live.hash)),
            link_of: Some(live.reviewer.name),
            sign_in: live.sign_in,
            attempts: Vec::new(),
            grant: None,
            beside,
        },
    )
}

/// `GET /review/{token}`: shows the call and changes nothing.
///
/// # Errors
/// The link is unknown, or the store failed; shown as a page.
pub(crate) async fn show(
    State(web): State<Web>,
    Path(token): Path<String>,
    Query(options): Query<Options>,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let show = Show { full: options.full(), revealed: false };
    Ok(match follow(&web, &token, &headers).await? {
        Link::Live(live) => call_page(&web, &token, *live, show).await,
        Link::Dead(live) => dead_page(&web, &live),
        Link::Ended(why) => ended_page(why),
        Link::Foreign { addressee, viewer } => {
            foreign_problem(&addressee, &viewer).into_page(frame())
        }
    })
}

/// `OPTIONS /review/{token}`: says which methods the path takes
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-10.2.1>).
pub(crate) async fn options() -> Response {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, OPTIONS, POST")]).into_response()
}

/// `POST /review/{token}`: takes the decision of the link's reviewer.
///
/// # Errors
/// The link is unknown or somebody else's, the form was not shown here, deciding needs a sign-in,
/// or the store failed. A decision that the broker refuses is shown as a page of its own.
pub(crate) async fn decide(
    State(web): State<Web>,
    Path(token): Path<String>,
    headers: HeaderMap,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    let live = match follow(&web, &token, &headers).await? {
        Link::Live(live) => live,
        Link::Dead(live) => return Ok(dead_page(&web, &live)),
        Link::Ended(why) => return Ok(ended_page(why)),
        Link::Foreign { addressee, viewer } => {
            return Err(PageProblem(foreign_problem(&addressee, &viewer)));
        }
    };
    check_form(&web, Bound::Review(&live.hash), fields.form_token.as_deref())?;
    if let Some(why) = live.sign_in {
        return Err(PageProblem(Problem::new(Code::Forbidden, why)));
    }
    check_seen(&web, &live.approval, &fields).map_err(PageProblem)?;
    let decision = fields.decision(Via::Email, Assurance::Link)?;
    let said = verb(decision.choice);
    match web.decide(live.approval, &live.reviewer, decision).await {
        Ok(after) => {
            let heading = if after.state == Stands::Pending {
                format!("You {said} this call; {} so far", progress(&after))
            } else {
                format!("You {said} this call")
            };
            Ok(page(StatusCode::OK, &DecidedPage::new(&web, frame(), heading, &after)))
        }
        Err(problem) => Ok(refused_page(&web, frame(), problem)),
    }
}

/// `POST /review/{token}/reveal`: the page with everything on it, recorded before it is shown.
///
/// # Errors
/// The link is unknown or somebody else's, the form was not shown here, revealing needs a sign-in,
/// or the record can't be written.
pub(crate) async fn reveal(
    State(web): State<Web>,
    Path(token): Path<String>,
    headers: HeaderMap,
    Posted(fields): Posted<Fields>,
) -> Result<Response, PageProblem> {
    let live = match follow(&web, &token, &headers).await? {
        Link::Live(live) => live,
        Link::Dead(live) => return Ok(dead_page(&web, &live)),
        Link::Ended(why) => return Ok(ended_page(why)),
        Link::Foreign { addressee, viewer } => {
            return Err(PageProblem(foreign_problem(&addressee, &viewer)));
        }
    };
    check_form(&web, Bound::Review(&live.hash), fields.form_token.as_deref())?;
    if let Some(why) = live.sign_in {
        return Err(PageProblem(Problem::new(Code::Forbidden, why)));
    }
    web.record_reveal(&live.approval, &live.reviewer, Via::Email).await?;
    Ok(call_page(&web, &token, *live, Show { full: true, revealed: true }).await)
}
