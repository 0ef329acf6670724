//! A row of `approvals`, read back into the thing it stands for. What can't be read is an error
//! that names column and row, never a default.

use crate::domain::approval::{
    Approval, ApprovalId, Assurance, Choice, Decision, Outcome, Settled, State, Via,
};
use crate::domain::call::{Method, ToolCall};
use crate::domain::risk::{RiskClass, Severity};
use crate::domain::time::Timestamp;
use crate::store::driver::Row;
use crate::store::sql::readable::Named;
use crate::store::{Result, StoreError};

/// Reads an approval back from its row.
///
/// # Errors
/// [`StoreError::Corrupt`], which names column and row, when a value can't be read.
pub(super) fn read(row: &Row) -> Result<Approval> {
    Named::APPROVALS.read(row, read_row)
}

fn read_row(row: &Row) -> Result<Approval> {
    let id = row.text("id")?;
    let bad = |column, what: &str| StoreError::corrupt("approvals", column, &id, what);
    let time = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp::from_micros));
    let digest = row.text("digest")?.parse().map_err(|_| bad("digest", "not a digest"))?;
    let outcome = match (row.opt_text("outcome_kind")?.as_deref(), row.opt_text("outcome")?) {
        (None, _) => None,
        (Some("result"), Some(raw)) => Some(Outcome::Result(raw)),
        (Some("error"), Some(raw)) => Some(Outcome::Error(raw)),
        (Some("not_kept"), Some(flag)) => Some(Outcome::NotKept { is_error: flag == "true" }),
        _ => return Err(bad("outcome_kind", "unknown")),
    };
    let decisions: Vec<StoredDecision> = serde_json::from_str(&row.text("decisions")?)
        .map_err(|e| bad("decisions", &e.to_string()))?;
    let settled: Option<Settled> = row
        .opt_text("settled")?
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| bad("settled", &e.to_string()))?;
    Ok(Approval {
        id: ApprovalId::parse(&id).ok_or_else(|| bad("id", "not an id"))?,
        version: row.int("version")?,
        state: State::parse(&row.text("state")?).ok_or_else(|| bad("state", "unknown"))?,
        call: ToolCall {
            method: Method::parse(&row.text("method")?).ok_or_else(|| bad("method", "unknown"))?,
            upstream: row.text("upstream")?,
            tool: row.text("tool")?,
            params: row.text("params")?.into(),
            digest,
        },
        agent: row.text("agent")?,
        client: row.opt_text("client")?,
        rule: row.text("rule")?,
        reason: row.opt_text("reason")?,
        risk: row
            .opt_text("risk")?
            .map(|text| RiskClass::parse(&text).ok_or_else(|| bad("risk", "unknown")))
            .transpose()?,
        severity: row
            .opt_text("severity")?
            .map(|text| Severity::parse(&text).ok_or_else(|| bad("severity", "unknown")))
            .transpose()?,
        terms: serde_json::from_str(&row.text("terms")?)
            .map_err(|e| bad("terms", &e.to_string()))?,
        decisions: decisions
            .into_iter()
            .map(StoredDecision::read)
            .collect::<Option<_>>()
            .ok_or_else(|| bad("decisions", "unknown word or time"))?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
        expires_at: Timestamp::from_micros(row.int("expires_at")?),
        decided_at: time("decided_at")?,
        claim_deadline: time("claim_deadline")?,
        finished_at: time("finished_at")?,
        end_reason: row.opt_text("end_reason")?,
        outcome,
        settled,
        owed: row.int("owed")? != 0,
        executor: row.opt_text("executor")?,
        unsent: row.int("unsent")? != 0,
        waiting: row.int("held")? != 0 || row.int("tended")? != 0,
        held: u32::try_from(row.int("held")?).unwrap_or_default(),
        followed: row.int("followed")? != 0,
        ran_before: time("ran_before")?,
    })
}

/// A decision as it stands in the row.
#[derive(serde::Deserialize)]
struct StoredDecision {
    reviewer: String,
    decision: Choice,
    reason: String,
    via: Via,
    /// What was recorded before there was this word counts as the weakest.
    #[serde(default)]
    assurance: Assurance,
    at: String,
}

impl StoredDecision {
    fn read(self) -> Option<Decision> {
        Some(Decision {
            reviewer: self.reviewer,
            choice: self.decision,
            reason: self.reason,
            via: self.via,
            assurance: self.assurance,
            at: Timestamp::parse(&self.at)?,
        })
    }
}
