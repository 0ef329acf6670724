//! The processes of a measurement: the upstream, nginx in front of it, and brokers in front of it.

use std::error::Error;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::net::TcpStream;

use crate::fill::{self, Size};
use crate::http::Conn;
use crate::process::Process;
use crate::requests::{self, To};
use crate::upstream;

/// What a measurement returns.
pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The upstream's name at the broker.
const UPSTREAM: &str = "archive";
/// Agents that every broker knows.
pub const AGENTS: usize = 64;
/// Token of the reviewer `ana`, an admin.
const REVIEWER_TOKEN: &str = "load-reviewer-token-of-ana";
/// How long anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker to measure: its name in the table, and its program; none is this build.
#[derive(Debug, Clone)]
pub struct Kind {
    /// What the table calls it.
    pub name: String,
    /// The program.
    pub program: Option<PathBuf>,
}

/// Where a broker keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// SQLite in the folder for temporary files, with default settings.
    Sqlite,
    /// A new database on the server that `PLACET_TEST_POSTGRES` names.
    Postgres,
}

impl Place {
    /// SQLite, and PostgreSQL where there is one.
    pub fn all() -> Vec<Self> {
        let mut places = vec![Self::Sqlite];
        if postgres_server().is_ok() {
            places.push(Self::Postgres);
        }
        places
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite on disk",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// What all parts of a run share.
pub struct World {
    /// Where the upstream listens.
    pub direct: SocketAddr,
    /// nginx, where it is installed: one worker, a kept connection to the upstream.
    pub nginx: Option<(Process, SocketAddr)>,
    /// The brokers to compare.
    pub kinds: Vec<Kind>,
    era: String,
    _upstream: Process,
    folder: PathBuf,
}

/// A running broker with a database of its own.
pub struct Broker {
    /// What the table calls it.
    pub name: String,
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    folder: PathBuf,
    postgres: Option<String>,
}

impl World {
    /// Starts the upstream, and nginx if its program is named.
    pub async fn start(kinds: Vec<Kind>, nginx: Option<&Path>, era: &str) -> Fallible<Self> {
        let folder = std::env::temp_dir().join(format!("placet-load-{}", unique()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let direct = free_address()?;
        let port = direct.port().to_string();
        let mut upstream =
            Process::start("upstream", &[OsStr::new(&port)], &folder.join("upstream.log"))?;
        until_it_listens(&mut upstream, direct).await?;
        let mut world =
            Self { direct, nginx: None, kinds, era: era.to_owned(), _upstream: upstream, folder };
        if let Some(program) = nginx {
            world.nginx = Some(world.start_nginx(program).await?);
        }
        Ok(world)
    }

    async fn start_nginx(&self, program: &Path) -> Fallible<(Process, SocketAddr)> {
        let address = free_address()?;
        let folder = self.folder.join("nginx");
        std::fs::create_dir(&folder)?;
        let at = folder.display();
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 16000; }}\n\
             http {{ access_log off; keepalive_requests 100000000;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             upstream archive {{ server {}; keepalive 256; keepalive_requests 100000000; }}\n\
             server {{ listen {address}; location / {{ proxy_pass http://archive;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
            self.direct
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text)?;
        let arguments = [program.as_os_str(), OsStr::new("-c"), file.as_os_str()];
        let mut process = Process::start("exec", &arguments, &folder.join("log"))?;
        until_it_listens(&mut process, address).await?;
        Ok((process, address))
    }

    /// The upstream itself, or what stands at that address and changes nothing.
    pub fn plain(address: SocketAddr) -> To {
        To { host: address.to_string(), path: "/mcp".to_owned(), token: agent_token(0) }
    }

    /// Starts a broker with an empty database.
    pub async fn broker(&self, kind: &Kind, place: Place) -> Fallible<Broker> {
        let name = format!("broker-{}", unique());
        let folder = self.folder.join(&name);
        std::fs::create_dir(&folder)?;
        let postgres = if place == Place::Postgres { Some(new_database().await?) } else { None };
        std::fs::write(folder.join("policy.json"), policy())?;
        let address = free_address()?;
        let database = postgres.as_ref().map_or("sqlite:placet.db", |(_, url)| url);
        std::fs::write(folder.join("placet.toml"), self.config(address, database))?;
        let mut process = launch(kind, &folder)?;
        until_it_listens(&mut process, address).await?;
        let postgres = postgres.map(|(name, _)| name);
        let mut broker = Broker { name: kind.name.clone(), process, address, folder, postgres };
        broker.until_it_answers().await?;
        Ok(broker)
    }

    /// Starts a broker with so many approvals in its database.
    pub async fn filled(&self, kind: &Kind, place: Place, size: Size) -> Fallible<Broker> {
        let broker = self.broker(kind, place).await?;
        if size == Size::default() { Ok(broker) } else { broker.fill(kind, size).await }
    }

    /// The configuration: default settings but for the limits that a deployment of this size raises.
    fn config(&self, address: SocketAddr, database: &str) -> String {
        let (upstream, era) = (self.direct, &self.era);
        let mut text = format!(
            "[server]\nlisten = \"{address}\"\nmax_connections = 9500\n\
             max_connections_per_address = 9500\nheader_timeout = \"5m\"\nidle_timeout = \"5m\"\n\
             max_under_way_per_agent = \"512MiB\"\nmax_under_way = \"1GiB\"\n\
             [database]\nurl = \"{database}\"\n\
             [approvals]\ntimeout = \"2h\"\nmax_pending_per_agent = 1000000\n\
             max_pending = 1000000\nmax_new_per_agent = {{ max = 1000000, window = 600 }}\n\
             max_held_per_agent = 10000\n\
             [[upstreams]]\nname = \"{UPSTREAM}\"\nurl = \"http://{upstream}/mcp\"\n\
             era = \"{era}\"\npolicy = \"policy.json\"\n\
             [[reviewers]]\nname = \"ana\"\nrole = \"admin\"\ntoken = \"{REVIEWER_TOKEN}\"\n"
        );
        for n in 0..AGENTS {
            text.push_str(&format!(
                "[[agents]]\nname = \"{}\"\ntoken = \"{}\"\nhold = \"1h\"\n\
                 hold_with_progress = \"1h\"\n",
                agent_name(n),
                agent_token(n)
            ));
        }
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays behind: {error}", self.folder.display());
        }
    }
}

impl Broker {
    /// Where the agent of that number calls.
    pub fn agent(&self, n: usize) -> To {
        To {
            host: self.address.to_string(),
            path: format!("/mcp/{UPSTREAM}"),
            token: agent_token(n % AGENTS),
        }
    }

    /// Where the reviewer decides.
    pub fn reviewer(&self) -> To {
        let (host, token) = (self.address.to_string(), REVIEWER_TOKEN.to_owned());
        To { host, path: "/".to_owned(), token }
    }

    /// A new connection to it.
    pub async fn connect(&self) -> Fallible<Conn> {
        Conn::open(self.address).await
    }

    /// Ids of everything that waits.
    pub async fn pending(&self) -> Fallible<Vec<String>> {
        let mut conn = self.connect().await?;
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/approvals?state=pending&limit=200{cursor}");
            let (_, body) = conn.ask(&requests::get(&self.reviewer(), &path, None)).await?;
            let page: serde_json::Value = serde_json::from_slice(&body)?;
            let rows = page["approvals"].as_array().ok_or("the list has no approvals")?;
            found.extend(rows.iter().filter_map(|row| row["id"].as_str()).map(str::to_owned));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(found),
            }
        }
    }

    /// Ids of the newest so many.
    pub async fn newest(&self, count: usize) -> Fallible<Vec<String>> {
        let mut conn = self.connect().await?;
        let path = format!("/api/v1/approvals?state=pending&limit={count}");
        let (_, body) = conn.ask(&requests::get(&self.reviewer(), &path, None)).await?;
        let page: serde_json::Value = serde_json::from_slice(&body)?;
        let rows = page["approvals"].as_array().ok_or("the list has no approvals")?;
        Ok(rows.iter().filter_map(|row| row["id"].as_str()).map(str::to_owned).collect())
    }

    /// Stops it, fills its database, and starts it again.
    pub async fn fill(mut self, kind: &Kind, size: Size) -> Fallible<Self> {
        self.process.stop()?;
        fill::fill(&self.folder.join("placet.toml"), size).await?;
        self.process = launch(kind, &self.folder)?;
        until_it_listens(&mut self.process, self.address).await?;
        self.until_it_answers().await?;
        Ok(self)
    }

    /// Ends it at once, and removes its database.
    pub async fn end(self) -> Fallible<()> {
        drop(self.process);
        std::fs::remove_dir_all(&self.folder)?;
        if let Some(name) = self.postgres {
            let mut admin = PgConnection::connect(&postgres_server()?).await?;
            let drop = format!("drop database if exists {name} with (force)");
            admin.execute(AssertSqlSafe(drop)).await?;
        }
        Ok(())
    }

    /// One allowed call, after which the upstream and its tools are known.
    async fn until_it_answers(&mut self) -> Fallible<()> {
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < PATIENCE {
            let mut conn = self.connect().await?;
            let call = requests::modern_call(&self.agent(0), "get_image_set_0", "first");
            let (_, body) = conn.ask(&call).await?;
            if crate::http::holds(&body, upstream::DONE) {
                return Ok(());
            }
            last = String::from_utf8_lossy(&body).into_owned();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("the broker does not pass calls on: {last}\n{}", self.process.log()).into())
    }
}

fn launch(kind: &Kind, folder: &Path) -> Fallible<Process> {
    let config = folder.join("placet.toml");
    let serve = [OsStr::new("serve"), OsStr::new("--config"), config.as_os_str()];
    let log = folder.join("log");
    match &kind.program {
        None => Process::start("placet", &serve, &log),
        Some(program) => {
            let mut arguments = vec![program.as_os_str()];
            arguments.extend(serve);
            Process::start("exec", &arguments, &log)
        }
    }
}

/// Name of the agent of that number.
fn agent_name(n: usize) -> String {
    format!("agent-{n}")
}

fn agent_token(n: usize) -> String {
    format!("load-agent-token-{n:06}")
}

fn policy() -> String {
    let rules: Vec<String> = upstream::tools()
        .iter()
        .map(|name| {
            if name.starts_with("delete") {
                format!(
                    r#""{name}":{{"action":"require_approval","reason":"It cannot be undone."}}"#
                )
            } else {
                format!(r#""{name}":{{"action":"allow"}}"#)
            }
        })
        .collect();
    format!(r#"{{"version":"1","default":"deny","tools":{{{}}}}}"#, rules.join(","))
}

fn postgres_server() -> Fallible<String> {
    Ok(std::env::var("PLACET_TEST_POSTGRES")?)
}

async fn new_database() -> Fallible<(String, String)> {
    let server = postgres_server()?;
    let name = format!("placet_load_{}", unique());
    let mut admin = PgConnection::connect(&server).await?;
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await?;
    let mut url = url::Url::parse(&server)?;
    url.set_path(&name);
    Ok((name, url.to_string()))
}

fn unique() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// An address on which nothing listens now.
fn free_address() -> Fallible<SocketAddr> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

async fn until_it_listens(process: &mut Process, address: SocketAddr) -> Fallible<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        if process.has_ended() {
            return Err(format!("it ended before it listened: {}", process.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("nothing listens on {address} after {PATIENCE:?}").into())
}
