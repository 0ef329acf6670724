//! The whole program on one thread, and what it spends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use allocation_counter::measure;
use placet::app::App;
use placet::config::{Config, Environment};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::{requests, server};

/// Token of the agent.
pub const AGENT: &str = "token-of-the-agent-counted";
/// Token of the reviewer, an admin.
pub const REVIEWER: &str = "token-of-the-reviewer-rita";

/// Tasks are numbered in the whole process, so only one program runs at a time.
static ALONE: Mutex<()> = Mutex::new(());
/// Number of the next folder.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What was spent.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Allocations on the program's thread.
    pub allocations: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tasks that were spawned, also for work that blocks.
    pub tasks: u64,
}

/// The running program.
pub struct Program {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Option<Runtime>,
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Program {
    /// Starts it with default settings but for the caps; the first call went through.
    pub fn start() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("placet-counts-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let policy = r#"{"version":"1","default":"deny","tools":{"look":{"action":"allow"},"delete":{"action":"require_approval"}}}"#;
        std::fs::write(folder.join("policy.json"), policy).unwrap();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"sqlite:placet.db\"\n\
             [approvals]\nmax_held_per_agent = 1000\nmax_pending_per_agent = 1000\n\
             max_new_per_agent = {{ max = 1000, window = 600 }}\n\
             [[upstreams]]\nname = \"archive\"\nurl = \"http://{}/mcp\"\npolicy = \"policy.json\"\n\
             [[agents]]\nname = \"counted\"\ntoken = \"{AGENT}\"\n\
             [[reviewers]]\nname = \"rita\"\nrole = \"admin\"\ntoken = \"{REVIEWER}\"\n",
            server::start()
        );
        let (config, _) =
            Config::read(&text, Some(&folder.join("placet.toml")), &Environment::new()).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let address = runtime.block_on(async {
            let app = App::build(config).await.unwrap();
            let address = app.address();
            tokio::spawn(app.run());
            address
        });
        let program = Self { address, runtime: Some(runtime), folder, _alone: alone };
        program.spent(move || {
            let call = requests::modern_call(&crate::agent(address), "look", "first");
            while !crate::Conn::open(address).ask(&call).contains(server::DONE) {}
        });
        program
    }

    /// What it spends while another thread does this.
    pub fn spent<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> (Spent, T) {
        let (begin, may_begin) = mpsc::channel();
        let (done, is_done) = oneshot::channel();
        let worker = std::thread::spawn(move || {
            may_begin.recv().unwrap();
            let result = work();
            // Only fails when the test has failed already.
            let _ = done.send(());
            result
        });
        let mut tasks = 0;
        let counted = measure(|| {
            self.runtime.as_ref().unwrap().block_on(async {
                let before = next_task();
                begin.send(()).unwrap();
                let _ = is_done.await;
                tasks = next_task() - before - 1;
            });
        });
        let result = worker.join().unwrap();
        (Spent { allocations: counted.count_total, bytes: counted.bytes_total, tasks }, result)
    }
}

/// The number of a task that is spawned now: tokio numbers tasks one after the other
/// (<https://docs.rs/tokio/latest/tokio/task/struct.Id.html>), and counts them only where its unstable
/// parts are built.
fn next_task() -> u64 {
    tokio::spawn(async {}).id().to_string().parse().unwrap()
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
