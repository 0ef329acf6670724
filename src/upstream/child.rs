//! Child processes: started in a group of their own with a bare environment, watched, and ended
//! together with everything they started.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::message::printable;
use crate::config::Secret;

/// How long a child has to leave after its input was closed, and again after SIGTERM.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Pause between looks at whether a process group is gone.
const GROUP_POLL: Duration = Duration::from_millis(20);
/// Lines of standard error that are kept.
pub(super) const STDERR_LINES: usize = 64;
/// Longest kept part of such a line, bytes.
pub(super) const STDERR_LINE: usize = 2048;
/// Lines of standard error written to the log per [`LOG_WINDOW`]; the rest is counted.
const LOG_LINES: u32 = 20;
/// The span of time that [`LOG_LINES`] counts for.
const LOG_WINDOW: Duration = Duration::from_secs(10);
/// Environment variables of Placet's own that a child sees.
const PASSED_ENVIRONMENT: [&str; 3] = ["PATH", "HOME", "LANG"];

/// How to start a child: its program, environment and working directory.
pub(super) struct Spec {
    command: Vec<String>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
}

impl Spec {
    /// Program and arguments, its own environment, its working directory.
    pub(super) fn new(command: &[String], env: &[(String, Secret)], cwd: Option<&Path>) -> Self {
        let passed = PASSED_ENVIRONMENT
            .iter()
            .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let own = env.iter().map(|(k, v)| (OsString::from(k), OsString::from(v.expose())));
        Self {
            command: command.to_vec(),
            env: passed.chain(own).collect(),
            cwd: cwd.map(Path::to_owned),
        }
    }

    /// Starts the child.
    ///
    /// # Errors
    /// Which program could not be started and why, in words.
    pub(super) fn start(&self) -> Result<Child, String> {
        let (program, arguments) =
            self.command.split_first().ok_or("the command is empty, name a program")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.spawn().map_err(|e| format!("{} can't be started: {e}", printable(program)))
    }
}

/// The process group that a child leads.
pub(super) fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Ends a child whose input is already being closed: waits, SIGTERM, waits, SIGKILL.
pub(super) async fn wind_down(child: &mut Child, group: Option<Pid>) -> Option<ExitStatus> {
    if let Ok(status) = timeout(GRACE, child.wait()).await {
        return status.ok();
    }
    signal(group, Signal::TERM);
    if let Ok(status) = timeout(GRACE, child.wait()).await {
        return status.ok();
    }
    signal(group, Signal::KILL);
    child.wait().await.ok()
}

/// Ends what a child that is gone has left behind in its group: SIGTERM, waits, SIGKILL.
pub(super) async fn sweep(group: Option<Pid>) {
    let alive = || group.is_some_and(|g| test_kill_process_group(g).is_ok());
    if !alive() {
        return;
    }
    signal(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while alive() && Instant::now() < deadline {
        sleep(GROUP_POLL).await;
    }
    if alive() {
        signal(group, Signal::KILL);
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A group that is gone already is what was wanted.
        let _ = kill_process_group(group, signal);
    }
}

/// How a child ended, in words.
pub(super) fn obituary(status: Option<ExitStatus>, last_line: Option<String>) -> String {
    let how = match status {
        Some(status) => format!("the server process ended ({status})"),
        None => "the server process ended".to_owned(),
    };
    match last_line {
        Some(line) => format!("{how}; its last words: {line}"),
        None => how,
    }
}

/// The last lines of a child's standard error.
#[derive(Default)]
pub(super) struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn push(&self, line: String) {
        let mut lines = self.lines();
        if lines.len() == STDERR_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The last line that is not empty, made harmless and short.
    pub(super) fn last(&self) -> Option<String> {
        self.lines().iter().rev().find(|l| !l.trim().is_empty()).map(|l| printable(l.trim()))
    }
}

/// Reads standard error to its end into `tail`. The log shows it at debug level only: what a
/// server writes there may hold arguments.
pub(super) async fn read_stderr(upstream: String, stderr: ChildStderr, tail: Arc<Tail>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let (mut window, mut logged, mut left_out) = (Instant::now(), 0_u32, 0_u32);
    while let Ok(Some(_)) = read_line(&mut reader, STDERR_LINE, &mut line, |_| {}).await {
        let text = String::from_utf8_lossy(&line).into_owned();
        if window.elapsed() > LOG_WINDOW {
            if left_out > 0 {
                debug!(%upstream, "{left_out} lines of standard error were not logged");
            }
            (window, logged, left_out) = (Instant::now(), 0, 0);
        }
        if logged < LOG_LINES {
            logged += 1;
            debug!(%upstream, "stderr: {}", printable(text.trim_end()));
        } else {
            left_out += 1;
        }
        tail.push(text);
    }
}

/// Reads one line without its end into `line`, keeping at most `limit` bytes; none at the end of
/// the input. True says that something was left out; `left_out` gets it in pieces.
///
/// # Errors
/// That of reading.
pub(super) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
    line: &mut Vec<u8>,
    mut left_out: impl FnMut(&[u8]),
) -> std::io::Result<Option<bool>> {
    line.clear();
    let (mut cut, mut any) = (false, false);
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(any.then_some(cut));
        }
        any = true;
        let end = available.iter().position(|b| *b == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        let room = limit.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(&part[..room]);
        if room < part.len() {
            cut = true;
            left_out(&part[room..]);
        }
        let used = end.map_or(available.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(cut));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_the_last_needs_no_end() {
        let mut reader = BufReader::with_capacity(3, &b"abcdef\nxy\n\nend"[..]);
        let mut line = Vec::new();
        let (mut seen, mut rest) = (Vec::new(), Vec::new());

        while let Some(cut) =
            read_line(&mut reader, 4, &mut line, |left| rest.extend_from_slice(left)).await.unwrap()
        {
            seen.push((String::from_utf8(line.clone()).unwrap(), cut));
        }

        let want = [("abcd", true), ("xy", false), ("", false), ("end", false)];
        assert_eq!(seen, want.map(|(text, cut)| (text.to_owned(), cut)));
        assert_eq!(rest, b"ef");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let tail = Tail::default();
        for n in 0..=STDERR_LINES {
            tail.push(format!("line {n}\u{1b}"));
        }
        tail.push("  ".into());

        assert_eq!(tail.lines().len(), STDERR_LINES);
        assert_eq!(tail.last(), Some(format!("line {STDERR_LINES}\\u{{1b}}")));
    }
}
