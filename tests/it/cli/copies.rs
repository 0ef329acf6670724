//! `backup`, `restore`, and a database file that is another broker's or older than it was.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use placet::domain::approval::{Choice, State};
use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::person::Role;
use placet::store::Store as _;
use placet::store::sql::SqlStore;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::approvals::{T0, approval, at, id, says, submission};
use crate::support::db::Dir;
use crate::support::soon;

/// A folder with a configuration, in which commands are run.
struct Place(Dir);

impl Place {
    fn new() -> Self {
        let place = Self(Dir::new());
        place.configure("sqlite:a.db");
        place
    }

    fn configure(&self, url: &str) {
        let text = format!("[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"{url}\"\n");
        std::fs::write(self.file("placet.toml"), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_placet"));
        command.args(arguments).current_dir(&self.0.0).kill_on_drop(true);
        command.stdin(Stdio::null());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        soon("the end of the command", self.command(arguments).output()).await.unwrap()
    }

    /// What it says where it must work.
    async fn works(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments).await;
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// What it complains of where it must fail with this exit code.
    async fn fails(&self, arguments: &[&str], code: i32) -> String {
        let done = self.run(arguments).await;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    /// A broker that listens.
    async fn serve(&self) -> Child {
        let mut child = self.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = soon("a line", lines.next_line()).await.unwrap();
            let line = line.expect("the broker runs until it is told to stop");
            if line.contains("listening on") {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return child;
            }
        }
    }

    async fn store(&self) -> SqlStore {
        SqlStore::open(&format!("sqlite:{}", self.file("a.db").display())).await.unwrap()
    }

    /// A database with an approved approval and a pending one.
    async fn with_two_open(&self) {
        let store = self.store().await;
        store.nodes().renew("node-a", T0, at(9)).await.unwrap();
        for n in [1, 2] {
            let submit = submission(approval(n, &format!(r#"{{"n":{n}}}"#)));
            store.approvals().submit(submit, T0).await.unwrap();
        }
        let found = store.approvals().find(&id(1), at(1)).await.unwrap().unwrap();
        let yes = found.decide(says("ben", Choice::Approve, at(1)), Role::Reviewer, None).unwrap();
        store.approvals().apply(yes, Vec::new(), at(1)).await.unwrap();
        store.audit().seal(100).await.unwrap();
        store.close().await;
    }

    async fn states(&self) -> [State; 2] {
        let store = self.store().await;
        let mut found = Vec::new();
        for n in [1, 2] {
            found.push(store.approvals().find(&id(n), at(1)).await.unwrap().unwrap().state);
        }
        store.close().await;
        found.try_into().unwrap()
    }

    fn remove_database(&self) {
        for entry in std::fs::read_dir(&self.0.0).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("a.db") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

async fn stop(mut child: Child) {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(soon("the end of the broker", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_second_broker_on_a_file_is_refused_with_the_firsts_pid_until_that_is_killed() {
    let place = Place::new();
    let mut first = place.serve().await;
    let pid = first.id().unwrap();

    let said = place.fails(&["serve"], 1).await;

    assert!(said.contains(&format!("process {pid}")) && said.contains("a.db"), "{said}");
    // Whatever only looks works beside it.
    place.works(&["audit", "verify"]).await;
    place.works(&["migrate"]).await;
    place.works(&["sign-in-link"]).await;
    place.works(&["backup", "copy.db"]).await;
    let said = place.fails(&["restore", "copy.db", "--force"], 1).await;
    assert!(said.contains(&format!("process {pid}")), "{said}");
    first.kill().await.unwrap();
    stop(place.serve().await).await;
}

#[tokio::test]
async fn a_backup_that_is_put_back_is_marked_and_its_chain_is_whole() {
    let place = Place::new();
    place.with_two_open().await;

    let made: Value =
        serde_json::from_str(&place.works(&["backup", "copy.db", "--json"]).await).unwrap();

    assert_eq!(
        (made["open"].as_u64(), made["audit"]["seq"].as_i64()),
        (Some(2), Some(4)),
        "{made}"
    );
    let mode = place.file("copy.db").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = place.fails(&["backup", "copy.db"], 1).await;
    assert!(said.contains("copy.db") && said.contains("already"), "{said}");
    let said = place.fails(&["restore", "copy.db"], 1).await;
    assert!(said.contains("--force"), "{said}");
    assert_eq!(place.states().await, [State::Approved, State::Pending], "nothing was touched");
    let said = place.fails(&["restore", "a.db"], 1).await;
    assert!(said.contains("the database itself"), "{said}");

    let done = place.works(&["restore", "copy.db", "--force", "--json"]).await;

    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!(done["marked"]["indeterminate"], 2, "{done}");
    assert!(PathBuf::from(done["aside"].as_str().unwrap()).exists(), "{done}");
    assert_eq!(place.states().await, [State::Indeterminate; 2]);
    assert!(place.works(&["audit", "verify"]).await.starts_with("ok: "));
    assert!(place.file("copy.db").exists());
    assert!(!place.file("a.db.restoring").exists());
    stop(place.serve().await).await;
    // Where there is no database, none is in the way.
    place.remove_database();
    let said = place.works(&["restore", "copy.db", "--ask-again"]).await;
    assert!(said.contains("asked anew by the identical call: 1"), "{said}");
    assert_eq!(place.states().await, [State::Indeterminate, State::Cancelled]);
}

#[tokio::test]
async fn no_broker_starts_on_a_backup_that_was_copied_in_place_until_it_is_marked() {
    let place = Place::new();
    place.with_two_open().await;
    place.works(&["backup", "copy.db"]).await;
    place.remove_database();
    std::fs::copy(place.file("copy.db"), place.file("a.db")).unwrap();

    let said = place.fails(&["serve"], 1).await;

    assert!(said.contains("is a backup") && said.contains("placet restore"), "{said}");
    place.works(&["restore"]).await;
    assert_eq!(place.states().await, [State::Indeterminate; 2]);
    stop(place.serve().await).await;
    let said = place.fails(&["restore"], 1).await;
    assert!(said.contains("nothing says"), "what was marked is no copy any more: {said}");
}

#[tokio::test]
async fn no_broker_starts_on_a_file_older_than_its_checkpoint_until_it_is_marked() {
    let place = Place::new();
    place.with_two_open().await;
    std::fs::copy(place.file("a.db"), place.file("old.db")).unwrap();
    stop(place.serve().await).await;
    std::fs::copy(place.file("old.db"), place.file("a.db")).unwrap();

    let said = place.fails(&["serve"], 1).await;

    for word in ["a.db is older than its checkpoint", "a.db.checkpoint", "placet restore"] {
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(place.states().await, [State::Approved, State::Pending]);
    let done = place.works(&["restore", "--nothing-ran-since"]).await;
    assert!(done.contains("nothing was marked"), "{done}");
    assert_eq!(place.states().await, [State::Approved, State::Pending]);
    std::fs::remove_file(place.file("a.db")).unwrap();
    let said = place.fails(&["serve"], 1).await;
    assert!(said.contains("is gone"), "{said}");
}

#[tokio::test]
async fn the_database_of_a_running_broker_is_copied_whole_and_a_file_alone_has_its_tables() {
    let place = Place::new();
    let broker = place.serve().await;
    std::fs::copy(place.file("a.db"), place.file("plain.db")).unwrap();
    place.works(&["backup", "copy.db"]).await;
    let store = place.store().await;
    store.audit().append(vec![AuditEvent::new(Kind::SignedIn, "ana", T0)]).await.unwrap();
    store.close().await;

    place.configure("sqlite:plain.db");
    place.works(&["audit", "verify"]).await;
    place.configure("sqlite:copy.db");
    place.works(&["audit", "verify"]).await;

    stop(broker).await;
}

#[tokio::test]
async fn postgres_has_tools_of_its_own_which_are_named() {
    let place = Place::new();
    place.configure("postgres://postgres@127.0.0.1:1/placet");

    let said = place.fails(&["backup", "copy.db"], 2).await;
    assert!(said.contains("pg_dump") && said.contains("placet restore"), "{said}");
    let said = place.fails(&["restore", "copy.db"], 2).await;
    assert!(said.contains("pg_restore"), "{said}");
}
