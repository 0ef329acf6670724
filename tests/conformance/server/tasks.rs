//! Tools that answer with a task, and the methods that follow one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::exchange::Exchange;
use super::tools::text;
use super::wire::{Answer, Fault};
use super::{Fixture, mrtr};

/// The name under which client and server declare them.
pub(crate) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Tools that become tasks, and what they say of themselves.
pub(crate) const TOOLS: [(&str, &str); 6] = [
    ("slow_compute", "Takes its time"),
    ("failing_job", "Fails, and only as a task"),
    ("protocol_error_job", "Ends with a protocol error"),
    ("confirm_delete", "Asks while it runs"),
    ("multi_input", "Asks two things while it runs"),
    ("test_tool_with_task", "Asks first and becomes a task then"),
];

/// How often a client should look.
const POLL_MS: u64 = 200;
const TTL_MS: u64 = 600_000;
/// How long the jobs that end by themselves run.
const JOB: Duration = Duration::from_millis(300);

/// One task.
pub(crate) struct Task {
    id: String,
    created: String,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    status: &'static str,
    updated: String,
    end: Option<(&'static str, Value)>,
    requests: BTreeMap<String, Value>,
}

fn now() -> String {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::now_utc().format(format).unwrap()
}

impl Task {
    fn change(&self, status: &'static str, end: Option<(&'static str, Value)>) {
        let mut state = self.state.lock().unwrap();
        if state.end.is_none() && state.status != "cancelled" {
            state.status = status;
            state.updated = now();
            state.end = end;
        }
        self.changed.notify_waiters();
    }

    fn shown(&self) -> Value {
        let state = self.state.lock().unwrap();
        json!({"taskId": self.id, "status": state.status, "createdAt": self.created,
            "lastUpdatedAt": state.updated, "ttlMs": TTL_MS, "pollIntervalMs": POLL_MS})
    }

    /// With how it ended, or what it waits for.
    fn detailed(&self) -> Value {
        let mut shown = self.shown();
        let state = self.state.lock().unwrap();
        if let Some((kind, value)) = &state.end {
            shown[*kind] = value.clone();
        }
        if state.status == "input_required" {
            shown["inputRequests"] = json!(state.requests);
        }
        shown
    }

    /// Waits until every question is answered.
    async fn answered(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state.lock().unwrap().requests.is_empty() {
                return;
            }
            changed.await;
        }
    }
}

/// Whether this tool can become a task.
pub(crate) fn is_task(tool: &str) -> bool {
    TOOLS.iter().any(|(name, _)| *name == tool)
}

fn declared(exchange: &Exchange) -> bool {
    exchange.declared("extensions").is_some_and(|e| e.get(EXTENSION).is_some())
}

fn undeclared() -> Fault {
    Fault::capability(&json!({"extensions": {EXTENSION: {}}}))
}

/// A call of one of [`TOOLS`].
pub(crate) fn call(exchange: &Exchange) -> Answer {
    let name = exchange.name();
    if !declared(exchange) {
        // One of them can do without; the others need what the client did not offer.
        return match name {
            "slow_compute" => Ok(text("Computed at once")),
            _ => Err(undeclared()),
        };
    }
    if name == "test_tool_with_task" && exchange.response("user_name").is_none() {
        let question = mrtr::form("What is your name?", "name", "string");
        return Ok(mrtr::required(json!({"user_name": question}), Some(json!({"for": name}))));
    }
    let seconds = exchange.argument("seconds").as_u64().unwrap_or(0);
    if name == "slow_compute" && seconds == 0 {
        return Ok(text("Computed at once"));
    }
    let questions: &[(&str, &str)] = match name {
        "confirm_delete" => &[("confirm", "Delete it?")],
        "multi_input" => &[("first", "The first?"), ("second", "The second?")],
        _ => &[],
    };
    let asked = questions
        .iter()
        .map(|(key, message)| ((*key).to_owned(), mrtr::form(message, "confirm", "boolean")))
        .collect();
    let task = Arc::new(Task {
        id: uuid::Uuid::now_v7().to_string(),
        created: now(),
        state: Mutex::new(State {
            status: if questions.is_empty() { "working" } else { "input_required" },
            updated: now(),
            end: None,
            requests: asked,
        }),
        changed: Notify::new(),
    });
    exchange.fixture.tasks.lock().unwrap().insert(task.id.clone(), Arc::clone(&task));
    let mut created = task.shown();
    created["resultType"] = json!("task");
    let user = exchange.response("user_name").map(|u| u["content"]["name"].to_string());
    tokio::spawn(run(Arc::clone(&exchange.fixture), task, name.to_owned(), seconds, user));
    Ok(created)
}

async fn run(
    fixture: Arc<Fixture>,
    task: Arc<Task>,
    tool: String,
    seconds: u64,
    user: Option<String>,
) {
    let done = |said: &str| Some(("result", text(said)));
    match tool.as_str() {
        "slow_compute" => {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            task.change("completed", done("Computed"));
        }
        "failing_job" => {
            tokio::time::sleep(JOB).await;
            let mut result = text("The job failed");
            result["isError"] = json!(true);
            task.change("completed", Some(("result", result)));
        }
        "protocol_error_job" => {
            tokio::time::sleep(JOB).await;
            let error = json!({"code": -32603, "message": "The job broke down"});
            task.change("failed", Some(("error", error)));
        }
        "test_tool_with_task" => {
            tokio::time::sleep(JOB).await;
            task.change("completed", done(&format!("Hello, {}!", user.unwrap_or_default())));
        }
        _ => {
            task.answered().await;
            task.change("completed", done("Every question was answered"));
        }
    }
    let params = task.detailed();
    fixture
        .listeners
        .lock()
        .unwrap()
        .retain(|l| l.tell(&task.id, "notifications/tasks", params.clone()));
}

/// `tasks/get`, `tasks/update` and `tasks/cancel`.
pub(crate) fn answer(method: &str, exchange: &Exchange) -> Answer {
    if !declared(exchange) {
        return Err(undeclared());
    }
    let id = exchange.params["taskId"].as_str().unwrap_or_default();
    let task = exchange.fixture.tasks.lock().unwrap().get(id).cloned();
    let Some(task) = task else { return Err(Fault::params("Unknown task")) };
    match method {
        "tasks/get" => return Ok(task.detailed()),
        "tasks/cancel" => task.change("cancelled", None),
        _ => {
            let given = exchange.params["inputResponses"].as_object();
            let mut state = task.state.lock().unwrap();
            let before = state.requests.len();
            state.requests.retain(|key, _| given.is_none_or(|g| !g.contains_key(key)));
            if before > 0 && state.requests.is_empty() && state.status == "input_required" {
                state.status = "working";
                state.updated = now();
            }
            drop(state);
            task.changed.notify_waiters();
        }
    }
    Ok(json!({}))
}
