//! Tasks, and what is said to calls that run.

use async_trait::async_trait;

use crate::domain::approval::{ApprovalId, Outcome};
use crate::domain::task::{Follows, Form, Task, TaskId};
use crate::domain::time::Timestamp;
use crate::store::driver::{Arg, Db, Lock, Row, Tx, args};
use crate::store::due::Unattended;
use crate::store::tasks::{Ended, Run, TaskStore};
use crate::store::{Result, StoreError};

use super::SqlStore;
use super::readable::Named;

const SELECT: &str = "\
    select id, agent, upstream, session, form, tool, approval, remote, node, answer_kind, answer, \
           created_at, changed_at, waits_until, expires_at, cancelled_at \
      from tasks ";

fn select(rest: &str) -> sqlx::AssertSqlSafe<String> {
    // Only constants of this module come in here; values are bound.
    sqlx::AssertSqlSafe(format!("{SELECT}{rest}"))
}

fn read(row: &Row) -> Result<Task> {
    let id = row.text("id")?;
    let bad = |column, what: &str| StoreError::corrupt("tasks", column, &id, what);
    let time = |column| Ok::<_, StoreError>(Timestamp::from_micros(row.int(column)?));
    let answer = match (row.opt_text("answer_kind")?.as_deref(), row.opt_text("answer")?) {
        (None, _) => None,
        (Some("result"), Some(raw)) => Some(Outcome::Result(raw)),
        (Some("error"), Some(raw)) => Some(Outcome::Error(raw)),
        (Some("not_kept"), Some(flag)) => Some(Outcome::NotKept { is_error: flag == "true" }),
        _ => return Err(bad("answer_kind", "unknown")),
    };
    let follows = match (row.opt_text("approval")?, row.opt_text("remote")?, row.opt_text("node")?)
    {
        (Some(approval), _, _) => Follows::Approval(
            ApprovalId::parse(&approval).ok_or_else(|| bad("approval", "not an id"))?,
        ),
        (None, Some(remote), _) => Follows::Remote(remote),
        (None, None, Some(node)) => Follows::Call { node, answer },
        (None, None, None) => return Err(bad("approval", "it follows nothing")),
    };
    Ok(Task {
        id: TaskId::parse(&id).ok_or_else(|| bad("id", "not an id"))?,
        agent: row.text("agent")?,
        upstream: row.text("upstream")?,
        session: row.opt_text("session")?,
        form: Form::parse(&row.text("form")?).ok_or_else(|| bad("form", "unknown"))?,
        tool: row.text("tool")?,
        follows,
        created_at: time("created_at")?,
        changed_at: time("changed_at")?,
        waits_until: time("waits_until")?,
        expires_at: time("expires_at")?,
        cancelled_at: row.opt_int("cancelled_at")?.map(Timestamp::from_micros),
    })
}

#[async_trait]
impl TaskStore for SqlStore {
    async fn insert(&self, task: &Task, max: u32) -> Result<bool> {
        let task = task.clone();
        self.run_for_agent(move |db| insert(db, task.clone(), max)).await
    }

    async fn find(
        &self,
        id: &TaskId,
        agent: &str,
        upstream: &str,
        now: Timestamp,
    ) -> Result<Option<Task>> {
        let sql = select(
            "where id = $1 and agent = $2 and (upstream = $3 or $3 = '') and expires_at > $4",
        );
        let row = self
            .for_agents()
            .read()
            .await?
            .row(sql, args![id.as_str(), agent, upstream, now])
            .await?;
        row.map(|row| read(&row)).transpose()
    }

    async fn look(&self, id: &TaskId, waits_until: Timestamp, now: Timestamp) -> Result<()> {
        let id = id.clone();
        self.run_for_agent(move |db| look(db, id.clone(), waits_until, now)).await
    }

    async fn list(
        &self,
        agent: &str,
        upstream: &str,
        form: Form,
        before: Option<(Timestamp, String)>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Task>> {
        let (at, id) = before.unwrap_or((Timestamp::from_micros(i64::MAX), String::new()));
        let sql = format!(
            "{SELECT}where agent = $1 and (upstream = $2 or $2 = '') and form = $3 and expires_at > $4 \
               and (created_at < $5 or (created_at = $5 and id < $6)) \
             order by created_at desc, id desc limit $7"
        );
        let page = |n: u32| args![agent, upstream, form.as_str(), now, at, id.clone(), n];
        let mut tx = self.for_agents().read().await?;
        Named::TASKS.first(&mut tx, limit, (sql, page), read).await
    }

    async fn end(&self, id: &TaskId, now: Timestamp) -> Result<Ended> {
        let id = id.clone();
        self.run_for_agent(move |db| end(db, id.clone(), now)).await
    }

    async fn others(&self, id: &TaskId, approval: &ApprovalId, now: Timestamp) -> Result<i64> {
        let mut tx = self.for_agents().read().await?;
        others(&mut tx, id, approval.as_str(), now).await
    }

    async fn following(&self, approval: &ApprovalId) -> Result<i64> {
        let sql = "select count(*) as n from tasks where approval = $1";
        self.for_agents().read().await?.count(sql, args![approval.as_str()]).await
    }

    async fn answer(&self, id: &TaskId, answer: &Outcome, now: Timestamp) -> Result<()> {
        let (kind, text) = words(answer);
        let id = id.clone();
        let sql = "update tasks set answer_kind = $2, answer = $3, changed_at = $4 \
                    where id = $1 and answer_kind is null";
        self.write(sql, args![id.as_str(), kind, text, now]).await
    }

    async fn unanswered(&self, node: &str, before: Timestamp) -> Result<Vec<TaskId>> {
        let sql = "select id from tasks where node = $1 and answer_kind is null \
                      and cancelled_at is null and created_at < $2";
        let rows = self.db.read().await?.rows(sql, args![node, before]).await?;
        Named::TASKS.readable(&rows, |row| {
            let id = row.text("id")?;
            TaskId::parse(&id).ok_or_else(|| StoreError::corrupt("tasks", "id", &id, "not an id"))
        })
    }

    async fn abandon(&self, id: &TaskId, now: Timestamp) -> Result<()> {
        let sql =
            "update tasks set node = '', changed_at = $2 where id = $1 and answer_kind is null";
        self.write(sql, args![id.as_str(), now]).await
    }

    async fn attended(&self, now: Timestamp, limit: u32) -> Result<Vec<Unattended>> {
        let sql = "select id, upstream, session from (select a.id as id, a.upstream as upstream, \
                          max(t.session) as session, row_number() over \
                          (partition by a.upstream order by a.claim_deadline, a.id) as place \
                     from approvals a join tasks t on t.approval = a.id \
                    where a.state = 'approved' and a.claim_deadline > $1 and t.waits_until > $1 \
                    group by a.id, a.upstream, a.claim_deadline) l where place <= $2";
        let rows = self.for_agents().read().await?.rows(sql, args![now, limit]).await?;
        Named::APPROVALS.readable(&rows, |row| {
            let id = row.text("id")?;
            let id = ApprovalId::parse(&id)
                .ok_or_else(|| StoreError::corrupt("tasks", "approval", &id, "not an id"))?;
            let (upstream, session) = (row.text("upstream")?, row.opt_text("session")?);
            Ok(Unattended { id, upstream, session })
        })
    }

    async fn run_of(&self, approval: &ApprovalId) -> Result<Run> {
        let sql = "select stop_at, questions, answers from runs where approval = $1";
        let row = self.for_agents().read().await?.row(sql, args![approval.as_str()]).await?;
        let Some(row) = row else { return Ok(Run::default()) };
        Ok(Run {
            stop_at: row.opt_int("stop_at")?.map(Timestamp::from_micros),
            input_requests: row.opt_text("questions")?,
            answers: row.opt_text("answers")?,
        })
    }

    async fn stop_run(&self, approval: &ApprovalId, now: Timestamp) -> Result<()> {
        let sql = "insert into runs (approval, stop_at, changed_at) values ($1, $2, $2) \
                   on conflict (approval) do update \
                      set stop_at = coalesce(runs.stop_at, excluded.stop_at), \
                          changed_at = excluded.changed_at";
        self.write(sql, args![approval.as_str(), now]).await
    }

    async fn ask(
        &self,
        approval: &ApprovalId,
        input_requests: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let sql = "insert into runs (approval, questions, changed_at) values ($1, $2, $3) \
                   on conflict (approval) do update \
                      set questions = excluded.questions, changed_at = excluded.changed_at";
        self.write(sql, args![approval.as_str(), input_requests.map(str::to_owned), now]).await
    }

    async fn reply(&self, approval: &ApprovalId, answers: &str, now: Timestamp) -> Result<()> {
        // Raw JSON may hold line breaks between tokens, never inside one.
        let line = answers.replace(['\n', '\r'], " ");
        let sql = "insert into runs (approval, answers, changed_at) values ($1, $2, $3) \
                   on conflict (approval) do update \
                      set answers = coalesce(runs.answers || $4, '') || excluded.answers, \
                          changed_at = excluded.changed_at";
        self.write(sql, args![approval.as_str(), line, now, "\n"]).await
    }

    async fn take_replies(&self, approval: &ApprovalId, now: Timestamp) -> Result<Option<String>> {
        let approval = approval.clone();
        self.run_for_agent(move |db| take_replies(db, approval.clone(), now)).await
    }
}

impl SqlStore {
    async fn write(&self, sql: &'static str, values: Vec<Arg>) -> Result<()> {
        self.run_for_agent(move |db| execute(db, sql, values.clone())).await
    }
}

async fn execute(db: Db, sql: &'static str, values: Vec<Arg>) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(sql, values).await?;
    tx.commit().await
}

async fn insert(db: Db, task: Task, max: u32) -> Result<bool> {
    let mut tx = db.begin_locked(Lock::Tasks(&task.agent)).await?;
    let living = tx
        .count(
            "select count(*) as n from tasks where agent = $1 and expires_at > $2",
            args![&task.agent, task.created_at],
        )
        .await?;
    if living >= i64::from(max) {
        tx.rollback().await?;
        return Ok(false);
    }
    let (approval, remote, node, answer) = match &task.follows {
        Follows::Approval(id) => (Some(id.to_string()), None, None, None),
        Follows::Remote(id) => (None, Some(id.clone()), None, None),
        Follows::Call { node, answer } => (None, None, Some(node.clone()), answer.as_ref()),
    };
    let (kind, text) = answer.map(words).unzip();
    tx.execute(
        "insert into tasks (id, agent, upstream, session, form, tool, approval, remote, node, \
                            answer_kind, answer, created_at, changed_at, waits_until, expires_at, \
                            cancelled_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        args![
            task.id.as_str(),
            &task.agent,
            &task.upstream,
            task.session.clone(),
            task.form.as_str(),
            &task.tool,
            approval.clone(),
            remote,
            node,
            kind.map(str::to_owned),
            text,
            task.created_at,
            task.changed_at,
            task.waits_until,
            task.expires_at,
            task.cancelled_at,
        ],
    )
    .await?;
    if let Some(approval) = approval {
        touch(&mut tx, &approval, task.created_at).await?;
    }
    tx.commit().await?;
    Ok(true)
}

fn words(answer: &Outcome) -> (&'static str, String) {
    match answer {
        Outcome::Result(raw) => ("result", raw.clone()),
        Outcome::Error(raw) => ("error", raw.clone()),
        Outcome::NotKept { is_error } => ("not_kept", is_error.to_string()),
    }
}

/// Lets listeners see that who waits has changed.
async fn touch(tx: &mut Tx, approval: &str, now: Timestamp) -> Result<()> {
    tx.execute(
        "update approvals set changed_at = $2, change_seq = null where id = $1",
        args![approval, now],
    )
    .await?;
    Ok(())
}

async fn look(db: Db, id: TaskId, waits_until: Timestamp, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    let row = tx
        .row(
            "select approval, waits_until from tasks where id = $1 and cancelled_at is null",
            args![id.as_str()],
        )
        .await?;
    let Some(row) = row else { return tx.rollback().await };
    tx.execute(
        "update tasks set waits_until = $2 where id = $1 and cancelled_at is null",
        args![id.as_str(), waits_until],
    )
    .await?;
    if let Some(approval) = row.opt_text("approval")?
        && row.int("waits_until")? <= now.micros()
    {
        touch(&mut tx, &approval, now).await?;
    }
    tx.commit().await
}

async fn end(db: Db, id: TaskId, now: Timestamp) -> Result<Ended> {
    let mut tx = db.begin().await?;
    let ended = tx
        .execute(
            "update tasks set cancelled_at = $2, changed_at = $2, waits_until = $2 \
              where id = $1 and cancelled_at is null",
            args![id.as_str(), now],
        )
        .await?;
    let row = tx.row("select approval from tasks where id = $1", args![id.as_str()]).await?;
    let approval = row.map(|row| row.opt_text("approval")).transpose()?.flatten();
    let others = match approval {
        None => 0,
        Some(approval) => {
            touch(&mut tx, &approval, now).await?;
            others(&mut tx, &id, &approval, now).await?
        }
    };
    tx.commit().await?;
    Ok(Ended { now: ended == 1, others })
}

async fn others(tx: &mut Tx, id: &TaskId, approval: &str, now: Timestamp) -> Result<i64> {
    let tasks = tx
        .count(
            "select count(*) as n from tasks where approval = $1 and id <> $2 \
                and cancelled_at is null and expires_at > $3",
            args![approval, id.as_str(), now],
        )
        .await?;
    let requests = tx
        .count(
            "select count(*) as n from holds h join nodes n on n.id = h.node \
              where h.approval = $1 and n.lease_expires_at > $2 \
                and substr(h.id, 1, length($3)) <> $3",
            args![approval, now, id.as_str()],
        )
        .await?;
    Ok(tasks + requests)
}

async fn take_replies(db: Db, approval: ApprovalId, now: Timestamp) -> Result<Option<String>> {
    let mut tx = db.begin().await?;
    let row = tx
        .row(
            "select answers from runs where approval = $1 and answers is not null",
            args![approval.as_str()],
        )
        .await?;
    let Some(answers) = row.map(|row| row.text("answers")).transpose()? else {
        tx.rollback().await?;
        return Ok(None);
    };
    tx.execute(
        "update runs set answers = null, changed_at = $2 where approval = $1",
        args![approval.as_str(), now],
    )
    .await?;
    tx.commit().await?;
    Ok(Some(answers))
}
