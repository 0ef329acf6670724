//! `/settings`: what a person keeps here about themselves. Address, groups and role stand in the
//! configuration; sessions, personal tokens, absences and wishes are theirs to change.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use crate::auth::personal::{self, Scope};
use crate::auth::session;
use crate::broker::plan;
use crate::config::Role;
use crate::domain::absence::{Absence, Clash};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::preferences::{
    Preferences, Quiet, minute_of_day, offset_text, time_of_day, utc_offset,
};
use crate::domain::show::visible;
use crate::domain::time::{Timestamp, in_words};
use crate::id::token_hash;
use crate::store::people::{NotEntered, PersonalToken};

use super::Web;
use super::error::{Code, Problem};
use super::extract::{Page, Posted};
use super::view::{Frame, When, page};

/// Longest name of a token, characters.
const MAX_NAME: usize = 60;

/// The fields of the forms here; which ones count depends on the form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
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
        "terminal" => "the link on the terminal",
        "token" => "a token",
        "oidc" => "single sign-on",
        "passkey" => "a passkey",
        _ => "something else",
    }
}

async fn render(web: &Web, who: &Page, fresh: Option<String>) -> Result<Response, Problem> {
    let (config, now) = (web.broker.config(), web.broker.now());
    let me = &who.reviewer;
    let people = web.broker.store().people();
    let sessions = people.sessions(&me.name, now.minus(config.people.session_idle)).await?;
    let tokens = people.tokens(&me.name, now).await?;
    let absences = people.absences(now).await?;
    let wishes = plan::Wishes::new(people.preferences().await?).of(&me.name);
    let quiet = wishes.quiet.unwrap_or(Quiet { from: 22 * 60, to: 7 * 60, offset: 0 });
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
        sessions: sessions
            .iter()
            .map(|s| SessionLine {
                handle: session::handle(&s.hash).to_owned(),
                via: via_words(&s.via),
                client: s.client.as_deref().map_or_else(String::new, visible),
                created: When::new(s.created_at, now),
                seen: When::new(s.seen_at, now),
                here: s.hash == who.hash(),
            })
            .collect(),
        tokens: tokens
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
        max_days: config.people.max_token_life.as_secs() / 86_400,
        stands_in_for: absences
            .iter()
            .filter(|a| a.delegate == me.name)
            .map(|a| format!("{} from {} to {}", a.reviewer, a.from, a.until))
            .collect(),
        absences: absences
            .iter()
            .filter(|a| a.reviewer == me.name)
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
            .filter(|r| r.role != Role::Auditor && r.name != me.name)
            .map(|r| r.name.clone())
            .collect(),
        quiet_from: time_of_day(quiet.from),
        quiet_to: time_of_day(quiet.to),
        offset: offset_text(quiet.offset),
        wishes,
    };
    Ok(page(StatusCode::OK, &template))
}

/// `GET /settings`
pub async fn show(State(web): State<Web>, who: Page) -> Response {
    render(&web, &who, None).await.unwrap_or_else(|problem| who.problem(problem))
}

fn back(who: &Page, done: Result<(), Problem>) -> Response {
    match done {
        Ok(()) => Redirect::to("/settings").into_response(),
        Err(problem) => who.problem(problem),
    }
}

fn gone(what: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no such {what} of yours; it may have ended"))
}

fn id(fields: &Fields) -> &str {
    fields.id.as_deref().unwrap_or_default()
}

/// `POST /settings/sessions/end`
pub async fn end_session(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let me = &who.reviewer.name;
        let event =
            AuditEvent::new(Kind::SessionEnded, me, web.broker.now()).with("session", id(&fields));
        let ended = web.broker.store().people().end_session(me, id(&fields), event).await?;
        if ended { Ok(()) } else { Err(gone("session")) }
    };
    back(&who, done.await)
}

/// `POST /settings/tokens`: makes a token, which is shown this once.
pub async fn make_token(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let made = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let (limits, now) = (&web.broker.config().people, web.broker.now());
        let name = fields.name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(Problem::invalid(format!("give it a name of 1 to {MAX_NAME} characters")));
        }
        let life = fields.days.trim().parse::<u32>().ok().filter(|d| *d > 0);
        let life = life.map(|d| Duration::from_secs(u64::from(d) * 86_400));
        let life = life.filter(|l| *l <= limits.max_token_life).ok_or_else(|| {
            Problem::invalid(format!(
                "say for how many days it is good, at most for {} (people.max_token_life)",
                in_words(limits.max_token_life)
            ))
        })?;
        let chosen = [
            (Scope::Read, &fields.read),
            (Scope::Decide, &fields.decide),
            (Scope::Manage, &fields.manage),
        ];
        let scopes: Vec<String> = chosen
            .iter()
            .filter(|(_, ticked)| ticked.is_some())
            .map(|(scope, _)| scope.as_str().to_owned())
            .collect();
        if scopes.is_empty() {
            return Err(Problem::invalid("choose what it may be used for"));
        }
        let secret = format!("{}{}", personal::PREFIX, web.broker.ids().token());
        let token = PersonalToken {
            id: web.broker.ids().prefixed("tok_", now),
            reviewer: who.reviewer.name.clone(),
            name: name.replace('\0', "\u{fffd}"),
            scopes,
            assurance: who.proven().assurance,
            created_at: now,
            expires_at: now.plus(life),
            used_at: None,
        };
        let event = AuditEvent::new(Kind::TokenMade, &token.reviewer, now)
            .with("token", &token.id)
            .with("name", &token.name)
            .with("scopes", &token.scopes.join(" "))
            .with("assurance", token.assurance.as_str())
            .with("expires_at", &token.expires_at.to_string());
        let people = web.broker.store().people();
        if !people.insert_token(&token_hash(&secret), &token, limits.max_tokens, event).await? {
            return Err(Problem::invalid(format!(
                "you have {} tokens already (people.max_tokens); revoke one first",
                limits.max_tokens
            )));
        }
        render(&web, &who, Some(secret)).await
    };
    made.await.unwrap_or_else(|problem| who.problem(problem))
}

/// `POST /settings/tokens/revoke`
pub async fn revoke_token(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let me = &who.reviewer.name;
        let event =
            AuditEvent::new(Kind::TokenRevoked, me, web.broker.now()).with("token", id(&fields));
        let revoked = web.broker.store().people().delete_token(me, id(&fields), event).await?;
        if revoked { Ok(()) } else { Err(gone("token")) }
    };
    back(&who, done.await)
}

/// Reads a day or a minute in UTC, as browsers' date fields write them.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => return None,
    };
    Timestamp::parse(&whole)
}

/// `POST /settings/absences`
pub async fn enter_absence(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let (config, now) = (web.broker.config(), web.broker.now());
        let me = &who.reviewer.name;
        let date = |text: &str| {
            instant(text).ok_or_else(|| {
                Problem::invalid("write a day, 2026-12-24, or a minute in UTC, 2026-12-24T18:00")
            })
        };
        let delegate = config
            .reviewer(fields.delegate.trim())
            .filter(|r| r.role != Role::Auditor)
            .ok_or_else(|| Problem::invalid("choose who stands in; auditors can't"))?;
        let absence = Absence {
            id: web.broker.ids().prefixed("abs_", now),
            reviewer: me.clone(),
            delegate: delegate.name.clone(),
            from: date(&fields.from)?,
            until: date(&fields.until)?,
        };
        let event = AuditEvent::new(Kind::AbsenceEntered, me, now)
            .with("absence", &absence.id)
            .with("delegate", &absence.delegate)
            .with("from", &absence.from.to_string())
            .with("until", &absence.until.to_string());
        let most = config.people.max_absences;
        match web.broker.store().people().insert_absence(&absence, most, event).await? {
            Ok(()) => Ok(()),
            Err(why) => Err(Problem::invalid(not_entered(why, most))),
        }
    };
    back(&who, done.await)
}

fn not_entered(why: NotEntered, most: u32) -> String {
    match why {
        NotEntered::TooMany => {
            format!("you have entered {most} absences already (people.max_absences)")
        }
        NotEntered::Clash(Clash::Oneself) => "nobody stands in for themselves".to_owned(),
        NotEntered::Clash(Clash::Times) => "it must end after it begins, and after now".to_owned(),
        NotEntered::Clash(Clash::Overlaps) => {
            "you are away then already; remove that absence first".to_owned()
        }
        NotEntered::Clash(Clash::Loop) => "who stands in is away too at some time in it, and \
             what they left leads back to you; choose somebody else"
            .to_owned(),
    }
}

/// `POST /settings/absences/remove`
pub async fn remove_absence(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let me = &who.reviewer.name;
        let event = AuditEvent::new(Kind::AbsenceRemoved, me, web.broker.now())
            .with("absence", id(&fields));
        let removed = web.broker.store().people().delete_absence(me, id(&fields), event).await?;
        if removed { Ok(()) } else { Err(gone("absence")) }
    };
    back(&who, done.await)
}

/// `POST /settings/preferences`
pub async fn set_preferences(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let quiet = if fields.quiet.is_some() {
            let time = |text: &str| {
                minute_of_day(text)
                    .ok_or_else(|| Problem::invalid("write a time of day, as in 22:00"))
            };
            let offset = utc_offset(&fields.offset).ok_or_else(|| {
                Problem::invalid("write how far your clock is ahead of UTC, as in +02:00")
            })?;
            let (from, to) = (time(&fields.quiet_from)?, time(&fields.quiet_to)?);
            Some(Quiet { from, to, offset })
        } else {
            None
        };
        let wishes = Preferences {
            reminders: fields.reminders.is_some(),
            decisions: fields.decisions.is_some(),
            quiet,
        };
        let people = web.broker.store().people();
        people.set_preferences(&who.reviewer.name, &wishes).await?;
        Ok(())
    };
    back(&who, done.await)
}
