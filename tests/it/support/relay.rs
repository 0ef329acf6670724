//! Stands between the store and PostgreSQL, and loses what a bad network loses.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to the next message of a client that contains some text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is handed on, the server answers, and both ends are cut before the answer arrives.
    LoseAnswer,
    /// Both ends are cut before it arrives.
    LoseQuestion,
    /// The connection goes silent in both directions, and stays open.
    Silence,
}

#[derive(Debug, Default)]
struct Plan {
    next: Option<(Vec<u8>, Fault)>,
    refuses: bool,
}

/// The relay; gone with its value.
#[derive(Debug)]
pub struct Relay {
    /// URL of the database through the relay.
    pub url: String,
    plan: Arc<Mutex<Plan>>,
    silent: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Between a client and the database of that URL.
    pub async fn to(url: &str) -> Self {
        let mut url = url::Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let plan = Arc::new(Mutex::new(Plan::default()));
        let (silent, hush) = watch::channel(false);
        let task = tokio::spawn(accept(listener, server, plan.clone(), hush));
        Self { url: url.to_string(), plan, silent, task }
    }

    /// The next message with that text in it meets the fault.
    pub fn next(&self, text: &str, fault: Fault) {
        self.plan.lock().unwrap().next = Some((text.as_bytes().to_vec(), fault));
    }

    /// Whether the fault happened.
    pub fn happened(&self) -> bool {
        self.plan.lock().unwrap().next.is_none()
    }

    /// Whether new connections are cut at once.
    pub fn refuse(&self, refuses: bool) {
        self.plan.lock().unwrap().refuses = refuses;
    }

    /// All connections, new ones too, go silent; or talk again.
    pub fn hush(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    plan: Arc<Mutex<Plan>>,
    hush: watch::Receiver<bool>,
) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        if plan.lock().unwrap().refuses {
            continue;
        }
        let (server, plan, hush) = (server.clone(), plan.clone(), hush.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            serve(client, server, plan, hush).await;
        });
    }
}

async fn serve(
    client: TcpStream,
    server: TcpStream,
    plan: Arc<Mutex<Plan>>,
    mut hush: watch::Receiver<bool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        if hush.wait_for(|silent| !silent).await.is_err() {
            return;
        }
        tokio::select! {
            // What was read when the silence began is not handed on.
            Ok(()) = hush.changed() => {}
            read = from_client.read(&mut up) => {
                let Ok(n) = read else { return };
                if n == 0 { return }
                let chunk = &up[..n];
                match due(&plan, chunk) {
                    None => if to_server.write_all(chunk).await.is_err() { return },
                    Some(Fault::LoseQuestion) => return,
                    Some(Fault::Silence) => std::future::pending().await,
                    Some(Fault::LoseAnswer) => {
                        to_server.write_all(chunk).await.ok();
                        // However much of it: none is handed on.
                        let _answered = from_server.read(&mut down).await;
                        return;
                    }
                }
            }
            read = from_server.read(&mut down) => {
                let Ok(n) = read else { return };
                if n == 0 || to_client.write_all(&down[..n]).await.is_err() { return }
            }
        }
    }
}

fn due(plan: &Mutex<Plan>, chunk: &[u8]) -> Option<Fault> {
    let mut plan = plan.lock().unwrap();
    let (text, _) = plan.next.as_ref()?;
    let found = chunk.windows(text.len()).any(|window| window == text.as_slice());
    if found { plan.next.take().map(|(_, fault)| fault) } else { None }
}
