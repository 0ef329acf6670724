//! `/history`: what was decided and what became of it, newest first.

use askama::Template;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;

use crate::config::Reviewer;
use crate::domain::approval::{Approval, ApprovalId, Decision, State as Stands};
use crate::domain::approval_json::{Detail, approval_json};
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;
use crate::store::Filter;

use super::Web;
use super::api::query::words;
use super::error::Problem;
use super::extract::{Page, encode};
use super::queue::Row;
use super::view::{Frame, page};

/// Approvals per page.
const PER_PAGE: u32 = 50;

/// Most approvals that are read at once for an export.
const PER_READ: u32 = 200;

/// The query that narrows the list; empty fields don't narrow.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Narrow {
    state: Option<String>,
    upstream: Option<String>,
    tool: Option<String>,
    agent: Option<String>,
    q: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "approvals/history.html")]
struct HistoryPage {
    frame: Frame,
    rows: Vec<Row>,
    states: Vec<(&'static str, bool)>,
    upstream: String,
    tool: String,
    agent: String,
    q: String,
    older: Option<String>,
    csv: String,
    json: String,
    max_export: u32,
}

fn given(field: Option<&String>) -> Option<String> {
    field.filter(|f| !f.is_empty()).cloned()
}

impl Narrow {
    fn state(&self) -> Result<Option<Stands>, Problem> {
        let Some(word) = given(self.state.as_ref()) else { return Ok(None) };
        let state = Stands::parse(&word);
        state
            .map(Some)
            .ok_or_else(|| Problem::invalid("there is no such state; choose from the list"))
    }

    fn filter(&self, limit: u32) -> Result<Filter, Problem> {
        let before = match given(self.cursor.as_ref()) {
            Some(text) => Some(
                ApprovalId::parse(&text)
                    .ok_or_else(|| Problem::invalid("cursor is not one of this list's"))?
                    .to_string(),
            ),
            None => None,
        };
        let words = given(self.q.as_ref()).map_or(Ok(Vec::new()), |q| words(&q))?;
        Ok(Filter {
            states: self.state()?.into_iter().collect(),
            upstream: given(self.upstream.as_ref()),
            tool: given(self.tool.as_ref()),
            agent: given(self.agent.as_ref()),
            words,
            before,
            limit,
            ..Filter::default()
        })
    }

    /// A link that narrows alike.
    fn link(&self, start: &str) -> String {
        let mut link = start.to_owned();
        let fields = [
            ("state", &self.state),
            ("upstream", &self.upstream),
            ("tool", &self.tool),
            ("agent", &self.agent),
            ("q", &self.q),
        ];
        for (name, value) in fields {
            if let Some(value) = given(value.as_ref()) {
                link.extend(["&", name, "=", &encode(&value)]);
            }
        }
        link
    }
}

/// `GET /history`: one page of approvals, newest first.
pub(crate) async fn show(
    State(web): State<Web>,
    who: Page,
    Query(narrow): Query<Narrow>,
) -> Response {
    let shown = async {
        let state = narrow.state()?;
        let filter = narrow.filter(PER_PAGE + 1)?;
        let mut approvals = web.broker.list_for(&who.reviewer, filter).await?;
        let more = approvals.len() > PER_PAGE as usize;
        approvals.truncate(PER_PAGE as usize);
        let older = approvals
            .last()
            .filter(|_| more)
            .map(|a| narrow.link(&format!("/history?cursor={}", a.id)));
        Ok(page(
            StatusCode::OK,
            &HistoryPage {
                frame: who.frame("History", "history"),
                rows: approvals.iter().map(|a| Row::new(&web.broker, a, who.proven())).collect(),
                states: Stands::ALL.iter().map(|s| (s.as_str(), Some(*s) == state)).collect(),
                csv: narrow.link("/history/export?format=csv"),
                json: narrow.link("/history/export?format=json"),
                max_export: web.broker.config().server.max_export,
                upstream: narrow.upstream.unwrap_or_default(),
                tool: narrow.tool.unwrap_or_default(),
                agent: narrow.agent.unwrap_or_default(),
                q: narrow.q.unwrap_or_default(),
                older,
            },
        ))
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Csv,
    Json,
}

/// `?format=csv` or `?format=json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    format: Format,
}

/// The columns of a CSV export.
const COLUMNS: &str = "id,state,upstream,tool,agent,rule,reason,digest,quorum,decisions,created_at,\
    expires_at,decided_at,finished_at,end_reason\r\n";

/// A quoted field (<https://www.rfc-editor.org/rfc/rfc4180#section-2>). What spreadsheets would
/// take for a formula gets an apostrophe in front, so that they read it as text. Line breaks, control
/// and other invisible characters are spelled out as on the pages: a field is one line.
fn csv_field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, visible(text).replace('"', "\"\""))
}

fn csv_row(a: &Approval) -> String {
    let time = |t: Option<Timestamp>| t.map(|t| t.to_string()).unwrap_or_default();
    let said =
        |d: &Decision| format!("{} {} {} ({})", d.at, d.reviewer, d.choice.as_str(), d.reason);
    let fields = [
        a.id.to_string(),
        a.state.as_str().to_owned(),
        a.call.upstream.clone(),
        a.call.shown_tool().into_owned(),
        a.agent.clone(),
        a.rule.clone(),
        a.reason.clone().unwrap_or_default(),
        a.digest().to_string(),
        a.terms.quorum.to_string(),
        a.decisions.iter().map(said).collect::<Vec<_>>().join("; "),
        time(Some(a.created_at)),
        time(Some(a.expires_at)),
        time(a.decided_at),
        time(a.finished_at),
        a.end_reason.clone().unwrap_or_default(),
    ];
    let fields: Vec<String> = fields.iter().map(|f| csv_field(f)).collect();
    format!("{}\r\n", fields.join(","))
}

/// One piece of an export after another; each reads the next approvals.
struct Export {
    web: Web,
    reviewer: Reviewer,
    filter: Filter,
    format: Format,
    left: u32,
    begun: bool,
    over: bool,
}

impl Export {
    /// The next piece; none after the last.
    async fn next(&mut self) -> Option<Result<String, Problem>> {
        if self.over {
            return None;
        }
        // One more than may be written tells whether something is left out.
        self.filter.limit = PER_READ.min(self.left) + 1;
        let mut approvals =
            match self.web.broker.list_for(&self.reviewer, self.filter.clone()).await {
                Ok(approvals) => approvals,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error.into()));
                }
            };
        let more = approvals.len() == self.filter.limit as usize;
        if more {
            approvals.pop();
        }
        let mut piece = match (self.begun, self.format) {
            (true, _) => String::new(),
            (false, Format::Csv) => COLUMNS.to_owned(),
            (false, Format::Json) => "{\"approvals\":[".to_owned(),
        };
        for a in &approvals {
            match self.format {
                Format::Csv => piece += &csv_row(a),
                Format::Json => {
                    if self.begun {
                        piece.push(',');
                    }
                    piece += &approval_json(a, Detail::Masked(self.web.broker.masker()));
                }
            }
            self.begun = true;
        }
        self.begun = true;
        self.left -= u32::try_from(approvals.len()).unwrap_or(self.left).min(self.left);
        self.filter.before = approvals.last().map(|a| a.id.to_string());
        let cut = more && self.left == 0;
        if cut || !more {
            self.over = true;
            if self.format == Format::Json {
                piece += if cut { "],\"truncated\":true}" } else { "],\"truncated\":false}" };
            }
        }
        Some(Ok(piece))
    }
}

/// `GET /history/export?format=csv|json`: what the page lists, newest first, as a file; arguments
/// (masked) are in JSON only. At most `server.max_export` approvals; JSON says whether there are more.
pub(crate) async fn export(
    State(web): State<Web>,
    who: Page,
    Query(wanted): Query<Wanted>,
    Query(narrow): Query<Narrow>,
) -> Response {
    let begun = async {
        let filter = narrow.filter(PER_READ)?;
        let mut export = Export {
            reviewer: who.reviewer.clone(),
            filter,
            format: wanted.format,
            left: web.broker.config().server.max_export,
            begun: false,
            over: false,
            web: web.clone(),
        };
        // What fails at once is a page, not half a file.
        let first = export.next().await.unwrap_or(Ok(String::new()))?;
        Ok::<_, Problem>((first, export))
    };
    let (first, export) = match begun.await {
        Ok(begun) => begun,
        Err(problem) => return who.problem(problem),
    };
    let rest = stream::unfold(export, |mut export| async move {
        let piece = export.next().await?;
        Some((piece.map_err(|p| std::io::Error::other(p.detail)), export))
    });
    let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
    let (kind, name) = match wanted.format {
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"placet-history.csv\""),
        Format::Json => ("application/json", "attachment; filename=\"placet-history.json\""),
    };
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_link_keeps_what_narrows() {
        let narrow = Narrow { tool: Some("a&b".to_owned()), ..Narrow::default() };

        assert_eq!(narrow.link("/history?cursor=apr_1"), "/history?cursor=apr_1&tool=a%26b");
    }

    #[test]
    fn a_file_for_spreadsheets_has_no_raw_control_characters() {
        let hostile = "a\u{1b}]0;x\u{7}\r\n=cmd\u{202e}\u{0}\u{9b}b\u{7f}\t";

        let field = csv_field(hostile);

        assert!(!field.chars().any(|c| c.is_control() || c == '\u{202e}'), "{field:?}");
        assert!(field.starts_with("\"a⟦U+001B⟧]0;x⟦U+0007⟧"), "{field}");
    }

    #[test]
    fn spreadsheets_get_no_formulas() {
        assert_eq!(csv_field("=1+1"), "\"'=1+1\"");
        assert_eq!(csv_field("@SUM(A1)"), "\"'@SUM(A1)\"");
        assert_eq!(csv_field("＝1+1"), "\"'＝1+1\"");
        assert_eq!(csv_field("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
