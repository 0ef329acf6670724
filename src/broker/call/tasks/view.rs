//! How a task stands now, from what it follows.

use crate::broker::Broker;
use crate::domain::approval::{Approval, Outcome, State};
use crate::domain::json::{self, Node};
use crate::domain::task::{Follows, Status, Task};
use crate::domain::time::{Timestamp, in_words};

use super::TaskError;
use crate::broker::call::answer::{Answer, Delivery, ended};

/// A task as it stands now.
#[derive(Debug, Clone)]
pub struct View {
    /// The task as it is stored.
    pub task: Task,
    /// Where it stands.
    pub status: Status,
    /// Why, for people and models.
    pub message: String,
    /// Its last change.
    pub changed_at: Timestamp,
    /// The approval it follows.
    pub approval: Option<Approval>,
    /// What the running call asks, raw JSON of `inputRequests`.
    pub input_requests: Option<String>,
}

impl Broker {
    /// How `task` stands, as the store has what it follows.
    pub(super) async fn view(&self, task: Task) -> Result<View, TaskError> {
        let id = match &task.follows {
            Follows::Approval(id) => id,
            Follows::Remote(_) => return Ok(self.view_of(task, None, None)),
            Follows::Call { node, answer } => {
                let lives = answer.is_some()
                    || node == self.node()
                    || self.store().nodes().is_alive(node, self.now()).await?;
                return Ok(self.view_of_call(task, lives));
            }
        };
        let approval = self.get(id).await?.ok_or(TaskError::Unknown)?;
        let input_requests = match approval.state {
            State::Running => self.store().tasks().run_of(id).await?.input_requests,
            _ => None,
        };
        Ok(self.view_of(task, Some(approval), input_requests))
    }

    /// A task that follows an approval, or an upstream's task.
    pub(super) fn view_of(
        &self,
        task: Task,
        approval: Option<Approval>,
        input_requests: Option<String>,
    ) -> View {
        let status = approval
            .as_ref()
            .map_or(Status::Working, |a| task.status_by(a, input_requests.is_some()));
        let latest = approval.as_ref().and_then(|a| a.finished_at.or(a.decided_at));
        View {
            message: self.describe(&task, approval.as_ref(), status),
            changed_at: task
                .cancelled_at
                .or(latest)
                .unwrap_or(task.changed_at)
                .max(task.created_at),
            input_requests: input_requests.filter(|_| status == Status::InputRequired),
            task,
            status,
            approval,
        }
    }

    /// A call that runs here and now, or was answered at once.
    fn view_of_call(&self, task: Task, lives: bool) -> View {
        let mut view = self.view_of(task, None, None);
        let Follows::Call { answer, .. } = &view.task.follows else { return view };
        let status = match answer {
            _ if view.task.cancelled_at.is_some() => Status::Cancelled,
            Some(answer) => Task::status_of(answer),
            None if lives => Status::Working,
            None => Status::Completed,
        };
        view.message = match (status, answer) {
            (Status::Cancelled, _) => "ended by its agent".to_owned(),
            (Status::Working, _) => view.message,
            (_, Some(Outcome::Result(raw))) => {
                words_of(raw).unwrap_or_else(|| format!("{} has answered", view.task.tool))
            }
            (_, Some(_)) => format!("{} failed", view.task.tool),
            (_, None) => "the broker that ran it died before an answer came".to_owned(),
        };
        view.status = status;
        view
    }

    /// What the task's status message says.
    fn describe(&self, task: &Task, approval: Option<&Approval>, status: Status) -> String {
        let tool = &task.tool;
        let Some(a) = approval else { return format!("{tool} is being executed") };
        if status == Status::Cancelled {
            return "ended by its agent".to_owned();
        }
        match a.state {
            State::Pending => format!(
                "Waiting for approval {} of {tool}; {} left",
                a.id,
                in_words(self.now().until(a.expires_at))
            ),
            State::Approved => format!("Approved; {tool} is about to be executed ({})", a.id),
            State::Running if status == Status::InputRequired => {
                format!("Approved; {tool} is being executed and asks for input ({})", a.id)
            }
            State::Running => format!("Approved; {tool} is being executed ({})", a.id),
            _ => match ended(a, Delivery::default(), self.now()) {
                Some(Answer::Statement(statement)) => statement.text,
                _ if status == Status::Failed => format!("Executed; {tool} failed ({})", a.id),
                _ => format!("Executed ({})", a.id),
            },
        }
    }

    /// The task as it is right after it was made: it works, whatever it follows.
    pub fn new_view(&self, task: Task) -> View {
        let mut view = self.view_of_call(task, true);
        view.status = Status::Working;
        view
    }
}

/// The first text of a result that says it failed.
fn words_of(result: &str) -> Option<String> {
    let node = json::parse(result).ok()?;
    node.get("isError").and_then(Node::as_bool).filter(|is_error| *is_error)?;
    Some(node.get("content")?.elements()?.first()?.get("text")?.as_str()?.to_owned())
}
