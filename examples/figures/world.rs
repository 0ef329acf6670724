//! A broker in front of the demo's archive, both on loopback, and the clients that talk to them.

use std::error::Error;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use placet::app::App;
use placet::broker::{Broker, Stop};
use placet::config::Environment;
use placet::demo::archive::Archive;
use placet::notify::memory::Mailbox;
use placet::store::Store as _;
use placet::store::sql::SqlStore;
use reqwest::{Client, RequestBuilder, Response};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fixtures::config_of;

/// What a measurement returns.
pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Token of the reviewer `ana`.
pub const REVIEWER_TOKEN: &str = "figures-reviewer-token-ana";
/// Token of the admin, `root`.
pub const ADMIN_TOKEN: &str = "figures-admin-token-of-root";
/// The upstream behind every broker here.
pub const UPSTREAM: &str = "images";
/// How long anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The revision all calls are made in: no session, every request stands alone.
const REVISION: &str = "2026-07-28";

const POLICY: &str = r#"{"version":"1","default":"deny","tools":{
    "list_image_sets":{"action":"allow"},"get_image_set":{"action":"allow"},
    "delete_image_set":{"action":"require_approval","reason":"It cannot be undone."}}}"#;

/// Where a broker keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// SQLite in the directory for temporary files.
    Disk,
    /// SQLite in memory-backed files where there are any: for filling a queue quickly.
    Memory,
    /// A new database on the server that `PLACET_TEST_POSTGRES` names.
    Postgres,
}

/// A running broker.
pub struct World {
    /// The broker inside.
    pub broker: Broker,
    /// Its store.
    pub store: SqlStore,
    /// Where it is served, without a slash at the end.
    pub base: String,
    /// Endpoint of the archive itself.
    pub direct: String,
    folder: PathBuf,
    postgres: Option<(String, String)>,
    stop: Stop,
    running: JoinHandle<()>,
    serving: JoinHandle<()>,
}

impl World {
    /// Starts one with so many agents, none of whose limits is ever reached.
    pub async fn start(agents: usize, audit: &str, place: Place) -> Fallible<Self> {
        let sample = TcpListener::bind("127.0.0.1:0").await?;
        let sample_address = sample.local_addr()?;
        let router = Archive::new(Mailbox::default()).router();
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(sample, router).await {
                eprintln!("the archive ended: {error}");
            }
        });
        let folder = folder(place)?;
        let postgres = if place == Place::Postgres { Some(new_database().await?) } else { None };
        let database = postgres.as_ref().map_or("sqlite:placet.db", |(_, url)| url);
        std::fs::write(folder.join("policy.json"), POLICY)?;
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"{database}\"\n\
             [approvals]\ntimeout = \"1h\"\nmax_pending_per_agent = 100000\n\
             max_pending = 100000\nmax_new_per_agent = {{ max = 100000, window = 600 }}\n\
             max_held_per_agent = 1000\n[audit]\ncalls = \"{audit}\"\n\
             [[upstreams]]\nname = \"{UPSTREAM}\"\nurl = \"http://{sample_address}/mcp\"\n\
             policy = \"policy.json\"\n\
             [[reviewers]]\nname = \"ana\"\ntoken = \"{REVIEWER_TOKEN}\"\n\
             [[reviewers]]\nname = \"root\"\nrole = \"admin\"\ntoken = \"{ADMIN_TOKEN}\"\n"
        );
        for n in 0..agents {
            let (name, token) = (agent_name(n), agent_token(n));
            text.push_str(&format!("[[agents]]\nname = \"{name}\"\ntoken = \"{token}\"\n"));
        }
        let file = folder.join("placet.toml");
        let config = config_of(&text, Some(&file), &Environment::new());
        let app = App::build(config).await?;
        let (broker, store, stop) = (app.broker.clone(), app.store().clone(), app.stop());
        let base = format!("http://{}", app.address());
        let running = tokio::spawn(app.run());
        let direct = format!("http://{sample_address}/mcp");
        let world = Self { broker, store, base, direct, folder, postgres, stop, running, serving };
        let upstream = world.broker.upstream(UPSTREAM).ok_or("there is no upstream")?.clone();
        upstream.refresh().await?;
        Ok(world)
    }

    /// URL of its database, for statements past the store.
    pub fn database(&self) -> String {
        match &self.postgres {
            Some((_, url)) => url.clone(),
            None => format!("sqlite:{}", self.folder.join("placet.db").display()),
        }
    }

    /// Where agents call.
    pub fn endpoint(&self) -> String {
        format!("{}/mcp/{UPSTREAM}", self.base)
    }

    /// Waits until no request is held any more.
    pub async fn nothing_held(&self) -> Fallible<()> {
        self.until(
            "held requests are detached",
            async || Ok(self.broker.figures().await?.held == 0),
        )
        .await
    }

    /// Waits until every audit record has its place in the chain.
    pub async fn all_sealed(&self) -> Fallible<()> {
        self.until("the audit is sealed", async || Ok(self.store.audit().unsealed().await? == 0))
            .await
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> Fallible<bool>) -> Fallible<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if is_so().await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("{PATIENCE:?} were not enough until {what}").into())
    }

    /// Stops it and removes what it kept.
    pub async fn stop(self) -> Fallible<()> {
        self.stop.soft.cancel();
        if let Err(error) = self.running.await {
            eprintln!("a broker did not stop cleanly: {error}");
        }
        self.serving.abort();
        std::fs::remove_dir_all(&self.folder)?;
        if let Some((name, _)) = self.postgres {
            let mut admin = PgConnection::connect(&postgres_server()?).await?;
            let drop = format!("drop database if exists {name} with (force)");
            admin.execute(AssertSqlSafe(drop)).await?;
        }
        Ok(())
    }
}

/// Name of the agent with that number.
pub fn agent_name(n: usize) -> String {
    format!("agent-{n}")
}

/// Token of the agent with that number.
pub fn agent_token(n: usize) -> String {
    format!("figures-agent-token-{n:06}")
}

/// A client that keeps its connections.
pub fn client() -> Fallible<Client> {
    Ok(Client::builder().no_proxy().tcp_nodelay(true).build()?)
}

/// One `tools/call`, complete, the same for the broker and for the archive itself.
pub fn call(client: &Client, endpoint: &str, token: &str, tool: &str, id: &str) -> RequestBuilder {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"datastore_id":"hospital-main","image_set_id":"{id}"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{REVISION}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    client
        .post(endpoint)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("authorization", format!("Bearer {token}"))
        .header("mcp-protocol-version", REVISION)
        .header("mcp-method", "tools/call")
        .header("mcp-name", tool)
        .body(body)
}

/// A call of the gated tool, sent; returns once the head of its stream says that it is stored.
pub async fn hold(client: &Client, endpoint: &str, token: &str, id: &str) -> Fallible<Response> {
    let response = call(client, endpoint, token, "delete_image_set", id).send().await?;
    let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok());
    if kind == Some("text/event-stream") {
        return Ok(response);
    }
    Err(format!("not held: {} {}", response.status(), response.text().await?).into())
}

/// Whether a server for [`Place::Postgres`] is named.
pub fn has_postgres() -> bool {
    postgres_server().is_ok()
}

fn postgres_server() -> Fallible<String> {
    Ok(std::env::var("PLACET_TEST_POSTGRES")?)
}

async fn new_database() -> Fallible<(String, String)> {
    let server = postgres_server()?;
    let name = format!("placet_figures_{}", uuid::Uuid::now_v7().simple());
    let mut admin = PgConnection::connect(&server).await?;
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await?;
    let mut url = url::Url::parse(&server)?;
    url.set_path(&name);
    Ok((name, url.to_string()))
}

fn folder(place: Place) -> Fallible<PathBuf> {
    let memory = Path::new("/dev/shm");
    let parent = if place == Place::Memory && memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let path = parent.join(format!("placet-figures-{}", uuid::Uuid::now_v7().simple()));
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}
