//! `/api/v1`: the queue for programs. Bearer tokens; reading also by session cookie. Every error
//! is a problem document (<https://www.rfc-editor.org/rfc/rfc9457#section-3>), checked in the
//! order 401, 404, 403, 422, 409.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::broker::people::decide::DecisionRequest;
use crate::broker::people::rights::Verb;
use crate::domain::approval::{Approval, Choice, Outcome, Via};
use crate::domain::approval_json::{Detail, approval_json};
use crate::domain::json;

use super::Web;
use super::agents;
use super::arguments::has_secrets;
use super::channels;
use super::decide::approval_id;
use super::error::{Code, Problem};
use super::extract::{Decider, Manager, Reader};
use super::grants::{grant_id, grant_json};
use super::people;
use super::upstreams;

pub(crate) mod body;
pub(crate) mod events;
pub(crate) mod query;

use body::Body;

const DESCRIPTION: &str = include_str!("openapi.json");

/// The routes below `/api/v1`.
pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/approvals", get(list))
        .route("/approvals/{id}", get(show))
        .route("/approvals/{id}/decision", post(decide))
        .route("/approvals/{id}/cancel", post(cancel))
        .route("/approvals/{id}/settle", post(settle))
        .route("/events", get(events::stream))
        .route("/tools", get(tools))
        .route("/agents", get(list_agents))
        .route("/upstreams", get(list_upstreams))
        .route("/upstreams/{name}/limits", get(limits_of))
        .route("/notifiers", get(list_notifiers))
        .route("/notifiers/{name}/enable", post(enable_notifier))
        .route("/grants", get(list_grants))
        .route("/grants/{id}/revoke", post(revoke_grant))
        .route("/audit", get(audit))
        .route("/people/{name}/sign-out", post(sign_out))
        .route("/me", get(me))
        .route("/openapi.json", get(description))
}

fn json_response(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A problem whose approval, if there is one, is shown masked.
fn refuse(web: &Web, problem: impl Into<Problem>) -> Response {
    problem.into().respond(Some(web.broker.masker()))
}

fn masked(web: &Web, approval: &Approval) -> String {
    approval_json(approval, Detail::Masked(web.broker.masker()))
}

fn answer(web: &Web, result: Result<Approval, Problem>) -> Response {
    match result {
        Ok(approval) => json_response(masked(web, &approval)),
        Err(problem) => refuse(web, problem),
    }
}

type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;
type RawBody = Result<Bytes, BytesRejection>;

/// `GET /approvals`: one page of approvals, newest first, masked.
async fn list(
    State(web): State<Web>,
    Reader(reader): Reader,
    pairs: Pairs,
) -> Result<Response, Problem> {
    let mut filter = query::filter(&query::pairs(pairs)?)?;
    let limit = filter.limit as usize;
    // One more than asked for tells whether there is a next page.
    filter.limit += 1;
    let mut approvals = web.broker.list_for(&reader, filter).await?;
    let more = approvals.len() > limit;
    approvals.truncate(limit);
    let next = approvals
        .last()
        .filter(|_| more)
        .map_or_else(|| "null".to_owned(), |a| json::quote(a.id.as_str()));
    let all: Vec<_> = approvals.iter().map(|a| masked(&web, a)).collect();
    Ok(json_response(format!("{{\"approvals\":[{}],\"next_cursor\":{next}}}", all.join(","))))
}

/// `GET /grants`: the newest, open or not.
async fn list_grants(State(web): State<Web>, Reader(reader): Reader) -> Result<Response, Problem> {
    let rows = web.broker.grants_for(&reader).await?;
    let now = web.broker.now();
    let all: Vec<_> = rows.iter().map(|row| grant_json(row, web.broker.masker(), now)).collect();
    Ok(json_response(format!("{{\"grants\":[{}]}}", all.join(","))))
}

/// `POST /grants/{id}/revoke`: ends a grant.
async fn revoke_grant(
    State(web): State<Web>,
    Manager(writer): Manager,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row = web.broker.revoke_grant(&grant_id(&id)?, &writer).await?;
    Ok(json_response(grant_json(&row, web.broker.masker(), web.broker.now())))
}

/// `GET /approvals/{id}`: raw, and recorded as a reveal where masking would have hidden something.
async fn show(
    State(web): State<Web>,
    Reader(reader): Reader,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let approval = web.broker.get_for(&approval_id(&id)?, &reader).await?;
    if holds_secrets(&web, &approval) {
        web.record_reveal(&approval, &reader, via(&headers)).await?;
    }
    Ok(json_response(approval_json(&approval, Detail::Raw)))
}

fn holds_secrets(web: &Web, a: &Approval) -> bool {
    let secret = |raw: &str| has_secrets(raw, web.broker.masker(), &a.terms.redact);
    secret(&a.call.arguments())
        || match &a.outcome {
            Some(Outcome::Result(raw) | Outcome::Error(raw)) => secret(raw),
            Some(Outcome::NotKept { .. }) | None => false,
        }
}

/// The channel of a decision: `Placet-Via: cli` names the terminal, everything else is the API.
fn via(headers: &HeaderMap) -> Via {
    match headers.get("placet-via") {
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"cli") => Via::Cli,
        _ => Via::Api,
    }
}

/// `POST /approvals/{id}/decision`: approves or rejects.
async fn decide(
    State(web): State<Web>,
    decider: Decider,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let Decider { reviewer: writer, assurance } = decider;
    let decided = async {
        let id = approval_id(&id)?;
        let body = body::text(body);
        // The right to decide comes before the rest of the body; a word that can't be read is
        // taken for the lesser one.
        let word = body.as_deref().map_or(Choice::Reject, choice_in);
        let verb = Verb::Decide { choice: word, assurance, via: via(&headers) };
        let visible = web.broker.permit_known(&id, &writer, verb).await?;
        let body = body?;
        let body = Body::read(&body, &["decision", "reason", "digest"])?;
        let word = body.text("decision")?.ok_or_else(|| Problem::invalid("decision is missing"))?;
        let choice = Choice::parse(&word)
            .ok_or_else(|| Problem::invalid("decision must be \"approve\" or \"reject\""))?;
        let decision = DecisionRequest {
            choice,
            reason: body.reason()?,
            digest: body.text("digest")?,
            via: via(&headers),
            assurance,
        };
        web.decide(visible, &writer, decision).await
    };
    answer(&web, decided.await)
}

fn choice_in(body: &str) -> Choice {
    let decision = json::parse(body).ok();
    let decision = decision.as_ref().and_then(|n| n.get("decision")).and_then(json::Node::as_str);
    decision.and_then(Choice::parse).unwrap_or(Choice::Reject)
}

/// `POST /approvals/{id}/cancel`: withdraws an approval that has not run.
async fn cancel(
    State(web): State<Web>,
    Manager(writer): Manager,
    Path(id): Path<String>,
    body: RawBody,
) -> Response {
    let cancelled = async {
        let id = approval_id(&id)?;
        web.broker.permit(&id, &writer, Verb::Withdraw).await?;
        let reason = Body::read(&body::text(body)?, &["reason"])?.reason()?;
        Ok(web.broker.cancel(&id, &writer, &reason).await?)
    };
    answer(&web, cancelled.await)
}

/// `POST /approvals/{id}/settle`: says whether an indeterminate call ran.
async fn settle(
    State(web): State<Web>,
    Manager(writer): Manager,
    Path(id): Path<String>,
    body: RawBody,
) -> Response {
    let settled = async {
        let id = approval_id(&id)?;
        web.broker.permit(&id, &writer, Verb::Settle).await?;
        let text = body::text(body)?;
        let body = Body::read(&text, &["done", "reason"])?;
        let done = body.truth("done")?.ok_or_else(|| Problem::invalid("done is missing"))?;
        Ok(web.broker.settle(&id, &writer, done, &body.reason()?).await?)
    };
    answer(&web, settled.await)
}

/// `GET /tools`: each tool under each rule that applies to it, and what of a policy fits no tool.
async fn tools(State(web): State<Web>, Reader(_): Reader) -> Response {
    json_response(super::tools::all_to_json(&web.broker))
}

/// `GET /agents`: the agents, and how long their clients wait.
async fn list_agents(State(web): State<Web>, Reader(_): Reader) -> Result<Response, Problem> {
    let rows: Vec<_> = web.broker.agent_rows().await?.iter().map(agents::to_json).collect();
    Ok(json_response(format!("{{\"agents\":[{}]}}", rows.join(","))))
}

/// `GET /upstreams`: the upstreams as they were last seen.
async fn list_upstreams(State(web): State<Web>, Reader(_): Reader) -> Response {
    let rows: Vec<_> = web.broker.upstream_rows().iter().map(upstreams::to_json).collect();
    json_response(format!("{{\"upstreams\":[{}]}}", rows.join(",")))
}

/// `GET /upstreams/{name}/limits`: the limits of the upstream's policy, and what is used of each.
async fn limits_of(
    State(web): State<Web>,
    Reader(_): Reader,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let used = web.broker.limits_used(&name).await?;
    let used = used.ok_or_else(|| Problem::new(Code::NotFound, "there is no such upstream"))?;
    let all: Vec<_> = used.iter().map(upstreams::limit_to_json).collect();
    Ok(json_response(format!("{{\"limits\":[{}]}}", all.join(","))))
}

/// `GET /notifiers`: the channels to reviewers, and which were disabled by their other side.
async fn list_notifiers(State(web): State<Web>, Reader(_): Reader) -> Result<Response, Problem> {
    let rows: Vec<_> = web.broker.channel_rows().await?.iter().map(channels::to_json).collect();
    Ok(json_response(format!("{{\"notifiers\":[{}]}}", rows.join(","))))
}

/// `POST /notifiers/{name}/enable`: enables a channel again, for admins.
async fn enable_notifier(
    State(web): State<Web>,
    Manager(writer): Manager,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let row = web.broker.enable_channel(&name, &writer).await?;
    Ok(json_response(channels::to_json(&row)))
}

/// `GET /audit`: sealed records after a sequence number, for auditors and admins.
async fn audit(
    State(web): State<Web>,
    Reader(reader): Reader,
    pairs: Pairs,
) -> Result<Response, Problem> {
    let audit = web.broker.audit_for(&reader)?;
    let (after, limit) = query::audit(&query::pairs(pairs)?)?;
    let records = audit.after(after, limit).await?;
    let records: Vec<_> = records.iter().map(crate::domain::audit::Record::to_json).collect();
    Ok(json_response(format!("{{\"records\":[{}]}}", records.join(","))))
}

/// `POST /people/{name}/sign-out`: ends all sessions, personal tokens and mailed links of a person,
/// for admins.
async fn sign_out(
    State(web): State<Web>,
    Manager(writer): Manager,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let ended = web.broker.sign_out_everywhere(&name, &writer).await.map_err(people::refused)?;
    Ok(json_response(people::ended_json(&name, ended)))
}

/// `GET /me`: the reviewer who asks.
async fn me(Reader(reader): Reader) -> Response {
    let groups: Vec<_> = reader.groups.iter().map(|g| json::quote(g)).collect();
    let email = reader.email.as_deref().map_or_else(|| "null".to_owned(), json::quote);
    json_response(json::object([
        ("name", json::quote(&reader.name).as_str()),
        ("email", &email),
        ("groups", &format!("[{}]", groups.join(","))),
        ("role", &json::quote(reader.role.as_str())),
    ]))
}

/// `GET /openapi.json`: the description of this API.
async fn description() -> Response {
    json_response(DESCRIPTION.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_json_and_names_every_path() {
        let description = json::parse(DESCRIPTION).unwrap();

        let paths = description.get("paths").and_then(json::Node::members).unwrap();
        let names: Vec<_> = paths.iter().map(|p| p.key.as_ref()).collect();
        assert_eq!(
            names,
            [
                "/approvals",
                "/approvals/{id}",
                "/approvals/{id}/decision",
                "/approvals/{id}/cancel",
                "/approvals/{id}/settle",
                "/events",
                "/tools",
                "/agents",
                "/upstreams",
                "/upstreams/{name}/limits",
                "/notifiers",
                "/notifiers/{name}/enable",
                "/grants",
                "/grants/{id}/revoke",
                "/audit",
                "/people/{name}/sign-out",
                "/me",
                "/openapi.json"
            ]
        );
    }
}
