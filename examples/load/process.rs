//! Processes that are measured: how they are started and ended, and what the kernel says of them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};

use crate::world::Fallible;

/// The hidden first argument that makes this program another one; see [`become_role`].
pub const ROLE: &str = "--role";

/// A child, ended by its id when this is dropped. The kernel ends it, too, when this process ends.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Memory that it has in RAM, KiB.
    pub memory_kib: f64,
    /// Time on a processor, of the threads that live.
    pub busy: Duration,
    /// How often its threads waited for something and were woken.
    pub wakes: f64,
}

impl Process {
    /// Starts this program again in that role; what it says goes to the log.
    pub fn start(role: &str, arguments: &[&OsStr], log: &Path) -> Fallible<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let parent = rustix::process::getpid().as_raw_nonzero().to_string();
        let child = Command::new(std::env::current_exe()?)
            .args([ROLE, &parent, role])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// What it said, without warnings.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter(|line| !line.starts_with("warning"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Fallible<()> {
        kill_process(self.pid(), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Fallible<Usage> {
        let folder = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let memory_kib = field(&status, "VmRSS:").ok_or("/proc has no VmRSS")?;
        let (mut busy, mut wakes) = (0, 0.0);
        for task in std::fs::read_dir(format!("{folder}/task"))? {
            let task = task?.path();
            // A thread may end while its lines are looked for. The first word is the time on a
            // processor in nanoseconds.
            let stat = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            busy += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
            wakes += field(&status, "voluntary_ctxt_switches:").unwrap_or(0.0);
        }
        Ok(Usage { memory_kib, busy: Duration::from_nanos(busy), wakes })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// As many descriptors as the system allows, for this process and all it starts. Returns how many.
pub fn more_descriptors() -> Fallible<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// From now on this process ends when the one of that id does, which has started it.
pub fn end_with(parent: &OsStr) -> Fallible<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    let alive = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if alive.as_deref().map(OsStr::new) == Some(parent) {
        return Ok(());
    }
    Err("the process that started this one has ended".into())
}

/// Becomes another program: the id stays, and so does what [`end_with`] arranged.
pub fn become_program(arguments: &[OsString]) -> Box<dyn std::error::Error + Send + Sync> {
    let Some((program, arguments)) = arguments.split_first() else {
        return "no program is named".into();
    };
    Command::new(program).args(arguments).exec().into()
}
