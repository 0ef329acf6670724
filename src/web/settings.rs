//! `/settings`: what a person keeps here about themselves. Address, groups and role stand in the
//! configuration; sessions, personal tokens, absences and wishes are theirs to change.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use crate::auth::personal_token::Scope;
use crate::broker::DecideError;
use crate::broker::people::settings::Own;
use crate::broker::people::{plan, sessions};
use crate::config::reach::passkey_domain;
use crate::domain::approval::Assurance;
use crate::domain::preferences::{
    Preferences, Quiet, minute_of_day, offset_text, time_of_day, utc_offset,
};
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;

use super::Web;
use super::error::{Code, Problem};
use super::extract::{Page, Posted};
use super::view::{Frame, When, page};

/// The fields of the forms here; which ones count depends on the form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    form_token: Option<String>,
    id: Option<String>,
    name: String,
    days: String,
    read: Option<String>,
    decide: Option<String>,
    manage: Option<String>,
    delegate: String,
    from: String,
    until: String,
    reminders: Option<String>,
    decisions: Option<String>,
    quiet: Option<String>,
    quiet_from: String,
    quiet_to: String,
    offset: String,
}

struct SessionLine {
    handle: String,
    via: &'static str,
    client: String,
    created: When,
    seen: When,
    here: bool,
}

struct TokenLine {
    id: String,
    name: String,
    scopes: String,
    expires: When,
    used: Option<When>,
}

struct PasskeyLine {
    id: String,
    name: String,
    created: When,
    used: Option<When>,
}

struct AbsenceLine {
    id: String,
    delegate: String,
    from: When,
    until: When,
    on: bool,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    form_token: String,
    name: String,
    email: Option<String>,
    groups: String,
    role: &'static str,
    channels: Vec<String>,
    sessions: Vec<SessionLine>,
    tokens: Vec<TokenLine>,
    fresh: Option<String>,
    passkeys: Vec<PasskeyLine>,
    no_passkeys: Option<&'static str>,
    max_days: u64,
    absences: Vec<AbsenceLine>,
    stands_in_for: Vec<String>,
    delegates: Vec<String>,
    wishes: Preferences,
    quiet_from: String,
    quiet_to: String,
    offset: String,
}

/// How somebody signed in, in words.
fn via_words(via: &str) -> &'static str {
    match via {
        "link" => "a mailed link",
        "terminal" | "terminal-session" => "the link on the terminal",
        "token" => "a token",
        "oidc" => "single sign-on",
        "passkey" => "a passkey",
        _ => "something else",
    }
}

/// Why none can be added now.
fn no_passkeys(web: &Web, who: &Page) -> Option<&'static str> {
    if passkey_domain(&web.broker.config().server.public_url).is_none() {
        return Some(
            "Browsers have no passkeys for this address: it needs https and a name, or localhost.",
        );
    }
    (who.proven().assurance < Assurance::Session).then_some(
        "You are signed in by a mailed link, or one from the terminal. To add a passkey, sign in with something stronger, \
         such as your token.",
    )
}

async fn render(web: &Web, who: &Page, fresh: Option<String>) -> Result<Response, Problem> {
    let (config, now) = (web.broker.config(), web.broker.now());
    let me = &who.reviewer;
    let own = web.broker.settings_of(&me.name).await?;
    let quiet = own.wishes.quiet.unwrap_or(Quiet { from: 22 * 60, to: 7 * 60, offset: 0 });
    let channel = |n: &crate::config::Notifier| {
        plan::address(n, me).map(|to| format!("{}: mails to {to}", n.name))
    };
    let template = SettingsPage {
        frame: who.frame("Settings", "settings"),
        form_token: who.form_token().to_owned(),
        name: me.name.clone(),
        email: me.email.clone(),
        groups: me.groups.join(", "),
        role: me.role.as_str(),
        channels: config.notifiers.iter().filter_map(channel).collect(),
        sessions: own
            .sessions
            .iter()
            .map(|s| SessionLine {
                handle: sessions::handle(&s.hash).to_owned(),
                via: via_words(&s.via),
                client: s.client.as_deref().map_or_else(String::new, visible),
                created: When::new(s.created_at, now),
                seen: When::new(s.seen_at, now),
                here: s.hash == who.hash(),
            })
            .collect(),
        tokens: own
            .tokens
            .iter()
            .map(|t| TokenLine {
                id: t.id.clone(),
                name: visible(&t.name),
                scopes: t.scopes.join(", "),
                expires: When::new(t.expires_at, now),
                used: t.used_at.map(|at| When::new(at, now)),
            })
            .collect(),
        fresh,
        passkeys: own
            .passkeys
            .iter()
            .map(|k| PasskeyLine {
                id: k.id.clone(),
                name: visible(&k.name),
                created: When::new(k.created_at, now),
                used: k.used_at.map(|at| When::new(at, now)),
            })
            .collect(),
        no_passkeys: no_passkeys(web, who),
        max_days: config.people.max_token_life.as_secs() / 86_400,
        stands_in_for: own
            .stands_in
            .iter()
            .map(|a| format!("{} from {} to {}", a.reviewer, a.from, a.until))
            .collect(),
        absences: own
            .absences
            .iter()
            .map(|a| AbsenceLine {
                id: a.id.clone(),
                delegate: a.delegate.clone(),
                from: When::new(a.from, now),
                until: When::new(a.until, now),
                on: a.from <= now,
            })
            .collect(),
        delegates: config
            .reviewers
            .iter()
            .filter(|r| r.role.decides() && r.name != me.name)
            .map(|r| r.name.clone())
            .collect(),
        quiet_from: time_of_day(quiet.from),
        quiet_to: time_of_day(quiet.to),
        offset: offset_text(quiet.offset),
        wishes: own.wishes,
    };
    Ok(page(StatusCode::OK, &template))
}

/// `GET /settings`: a reviewer's sessions, tokens, passkeys, absences and preferences.
pub(crate) async fn show(State(web): State<Web>, who: Page) -> Response {
    render(&web, &who, None).await.unwrap_or_else(|problem| who.problem(problem))
}

/// Redirects to the page once something was changed, or shows the problem.
fn back(who: &Page, done: Result<(), Problem>) -> Response {
    match done {
        Ok(()) => Redirect::to("/settings").into_response(),
        Err(problem) => who.problem(problem),
    }
}

/// Ends a session, token, passkey or absence of this reviewer; `noun` names it in a refusal.
async fn end(web: &Web, who: &Page, fields: &Fields, own: Own, noun: &str) -> Response {
    let done = async {
        who.check_form(web, fields.form_token.as_deref())?;
        let id = fields.id.as_deref().unwrap_or_default();
        match web.broker.end_own(&who.reviewer.name, own, id).await {
            Err(DecideError::NotFound) => Err(Problem::new(
                Code::NotFound,
                format!("there is no such {noun} of yours; it may have ended"),
            )),
            done => Ok(done?),
        }
    };
    back(who, done.await)
}

/// `POST /settings/sessions/end`: ends one of the reviewer's sessions.
pub(crate) async fn end_session(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    end(&web, &who, &fields, Own::Session, "session").await
}

/// `POST /settings/tokens/revoke`: revokes one of the reviewer's tokens.
pub(crate) async fn revoke_token(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    end(&web, &who, &fields, Own::Token, "token").await
}

/// `POST /settings/passkeys/remove`: removes one of the reviewer's passkeys.
pub(crate) async fn remove_passkey(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    end(&web, &who, &fields, Own::Passkey, "passkey").await
}

/// `POST /settings/absences/remove`: removes one of the reviewer's absences.
pub(crate) async fn remove_absence(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    end(&web, &who, &fields, Own::Absence, "absence").await
}

/// `POST /settings/tokens`: makes a token, which is shown this once.
pub(crate) async fn make_token(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let made = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        // Anything but a number counts as 0 days, which is refused with what may be written.
        let days = fields.days.trim().parse::<u32>().unwrap_or_default();
        let life = Duration::from_secs(u64::from(days) * 86_400);
        let ticked = [
            (Scope::Read, &fields.read),
            (Scope::Decide, &fields.decide),
            (Scope::Manage, &fields.manage),
        ];
        let scopes: Vec<Scope> =
            ticked.iter().filter(|(_, tick)| tick.is_some()).map(|(scope, _)| *scope).collect();
        let name = fields.name.trim();
        let secret = web.broker.make_token(who.proven(), name, life, &scopes).await?;
        render(&web, &who, Some(secret)).await
    };
    made.await.unwrap_or_else(|problem| who.problem(problem))
}

/// Reads a day (`2026-12-24`) or a minute (`2026-12-24T18:00`) in UTC, as browsers' date fields
/// write them.
fn instant(text: &str) -> Result<Timestamp, Problem> {
    let text = text.trim();
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => String::new(),
    };
    Timestamp::parse(&whole).ok_or_else(|| {
        Problem::invalid("write a day, 2026-12-24, or a minute in UTC, 2026-12-24T18:00")
    })
}

/// `POST /settings/absences`: enters an absence and who decides meanwhile.
pub(crate) async fn enter_absence(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let (from, until) = (instant(&fields.from)?, instant(&fields.until)?);
        let delegate = fields.delegate.trim();
        Ok(web.broker.enter_absence(&who.reviewer.name, delegate, from, until).await?)
    };
    back(&who, done.await)
}

/// The quiet hours of the form.
fn quiet(fields: &Fields) -> Result<Quiet, Problem> {
    let time = |text: &str| {
        minute_of_day(text).ok_or_else(|| Problem::invalid("write a time of day, as in 22:00"))
    };
    let offset = utc_offset(&fields.offset).ok_or_else(|| {
        Problem::invalid("write how far your clock is ahead of UTC, as in +02:00")
    })?;
    Ok(Quiet { from: time(&fields.quiet_from)?, to: time(&fields.quiet_to)?, offset })
}

/// `POST /settings/preferences`: sets which messages the reviewer wants, and quiet hours.
pub(crate) async fn set_preferences(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let wishes = Preferences {
            reminders: fields.reminders.is_some(),
            decisions: fields.decisions.is_some(),
            quiet: fields.quiet.as_ref().map(|_| quiet(&fields)).transpose()?,
        };
        Ok(web.broker.set_preferences(&who.reviewer.name, &wishes).await?)
    };
    back(&who, done.await)
}
