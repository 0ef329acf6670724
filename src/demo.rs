//! The main job on embedded defaults: a sample archive behind the broker, a sample agent in front
//! of it, a reviewer with a mailbox instead of SMTP. Everything speaks real MCP over loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::app::{App, AppError};
use crate::broker::Stop;
use crate::config::{Config, Environment, Notifier, NotifierKind, Problem};
use crate::domain::approval::Assurance;
use crate::domain::visible_text::visible;
use crate::notify::Message;
use crate::notify::memory::Mailbox;

pub(crate) mod agent;
pub mod archive;
pub(crate) mod decide;

use agent::Agent;
use archive::Archive;

/// Where the demo listens, if that is free.
const ADDRESS: &str = "127.0.0.1:8420";
/// What the sample agent asks for.
const ARGUMENTS: &str = r#"{"datastore_id":"hospital-main","image_set_id":"7f3a"}"#;
/// How long the demo waits for its own mail.
const MAIL_WITHIN: Duration = Duration::from_secs(20);

const POLICY: &str = include_str!("../config/policy.demo.json");

/// How the demo runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Decide by itself: approve or reject.
    pub decide: Option<crate::domain::approval::Choice>,
    /// Start no sample agent.
    pub no_agent: bool,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The demo's own configuration has errors.
    #[error("the demo's configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<Problem>),
    /// The program could not be built.
    #[error(transparent)]
    App(#[from] AppError),
    /// A file or socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The agent was not answered.
    #[error("the agent was not answered: {0}")]
    Agent(#[from] crate::upstream::UpstreamError),
    /// Something that should have happened did not.
    #[error("{0}")]
    Missing(&'static str),
    /// The review page refused the link or the decision.
    #[error("the review page could not be used: {0}")]
    Review(String),
}

/// Runs the demo; each line of the story goes to `say`.
///
/// # Errors
/// [`DemoError`]: the broker can't be built, a file or socket fails, the agent gets no answer, or a
/// step does not happen in time.
pub async fn run(options: Options, say: &(dyn Fn(&str) + Sync)) -> Result<(), DemoError> {
    let folder = folder()?;
    let done = story(&options, &folder, say).await;
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        tracing::warn!(%error, "{} stays behind", folder.display());
    }
    done
}

async fn story(
    options: &Options,
    folder: &std::path::Path,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), DemoError> {
    let mailbox = Mailbox::default();
    let archive = Archive::new(mailbox.clone());
    let sample = TcpListener::bind("127.0.0.1:0").await?;
    let sample_address = sample.local_addr()?;
    let router = archive.clone().router();
    let serving = tokio::spawn(async move { axum::serve(sample, router).await });

    let config = config(options, folder, sample_address).await?;
    let app = App::build_with(config, mailbox.clone()).await?;
    let stop = app.stop();
    let config = app.broker.config().clone();
    let endpoint = config.link("/mcp/images");
    say("Placet demo: an agent wants to delete an image set, and a person decides.\n");
    say(&format!(
        "archive  a sample MCP server with {} image sets, at http://{sample_address}/mcp",
        archive.count()
    ));
    say(&format!("placet   stands in front of it; connect a real MCP client to {endpoint}"));
    say(&format!("mailbox  what would be mailed to the reviewer: http://{sample_address}/mailbox"));
    let signals = tokio::spawn(crate::app::signals::signals(stop.clone()));
    let link = crate::app::sign_in_link(&config, app.store(), "owner", Assurance::Session)
        .await
        .map_err(AppError::from)?;
    let running = tokio::spawn(app.run());
    let life = crate::domain::time::in_words(config.people.link_life);
    say(&format!("queue    sign in as the reviewer \"owner\", once, within {life}: {link}"));
    if config.mailer().is_none() {
        return Err(DemoError::Missing("the demo has no mailbox"));
    }

    let told = if options.no_agent {
        say("\nNo sample agent was asked for. Press Ctrl-C to stop.");
        stop.soft.cancelled().await;
        Ok(())
    } else {
        scene(options, &config, &mailbox, &archive, &stop, say).await
    };
    stop.soft.cancel();
    let _ = running.await;
    signals.abort();
    serving.abort();
    told
}

async fn scene(
    options: &Options,
    config: &Config,
    mailbox: &Mailbox,
    archive: &Archive,
    stop: &Stop,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), DemoError> {
    let tracker = TaskTracker::new();
    let endpoint = config
        .link("/mcp/images")
        .parse()
        .map_err(|_| DemoError::Missing("the demo's own address can't be read"))?;
    let agent = Agent::new(config, endpoint, &tracker)
        .ok_or(DemoError::Missing("the sample agent could not be built"))?;
    let (heard, mut hears) = mpsc::channel(64);
    say("\nagent    calls list_image_sets");
    let listed = agent.call("list_image_sets", "{}", heard.clone()).await?;
    say(&format!("         allowed by the policy, answered at once: {}", visible(&listed.text)));
    say(&format!("agent    calls delete_image_set {ARGUMENTS}"));
    say("         there is no undo, so the policy asks for a person's approval: the call is held");
    let call = agent.call("delete_image_set", ARGUMENTS, heard.clone());
    tokio::pin!(call);
    let mail = tokio::select! {
        link = review_link(mailbox) => link?,
        said = &mut call => {
            let said = said?;
            return Err(DemoError::Review(format!("nothing was asked: {}", said.text)));
        }
    };
    say(&format!("mail     to the reviewer: {}", visible(&mail.subject)));
    say(&format!("review   {}", mail.link));
    match options.decide {
        Some(choice) => {
            say(&format!("         the demo opens the link, and answers: {}", choice.as_str()));
            decide::by_link(&mail.link, choice).await.map_err(DemoError::Review)?;
        }
        None => say("\nOpen the review link in a browser and decide. The agent waits.\n"),
    }
    let said = loop {
        tokio::select! {
            biased;
            said = &mut call => break said?,
            Some(note) = hears.recv() => {
                if let crate::upstream::ServerMessage::Notification(note) = note
                    && let Some(text) = progress_text(&note)
                {
                    say(&format!("         {}", visible(&text)));
                }
            }
            () = stop.soft.cancelled() => {
                agent.close().await;
                return Ok(());
            }
        }
    };
    say(&format!("answer: {}", visible(&said.text)));
    say(&format!("archive  holds {} image sets now", archive.count()));
    if options.decide.is_none() {
        say("\nThat was it. The broker goes on: look at the queue and the history, or connect a \
             client. Press Ctrl-C to stop.");
        stop.soft.cancelled().await;
    }
    agent.close().await;
    tracker.close();
    Ok(())
}

fn progress_text(note: &crate::upstream::Notification) -> Option<String> {
    let params = crate::domain::json::parse(note.params.as_deref()?).ok()?;
    Some(params.get("message")?.as_str()?.to_owned())
}

struct Mail {
    subject: String,
    link: String,
}

/// The first mail with a review link.
async fn review_link(mailbox: &Mailbox) -> Result<Mail, DemoError> {
    /// How often the mailbox is looked into.
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let search = async {
        loop {
            for message in mailbox.messages() {
                let Message::Email(mail) = message else { continue };
                let link = mail.text.split_whitespace().find(|word| word.contains("/review/"));
                if let Some(link) = link {
                    return Mail { subject: mail.subject.clone(), link: link.to_owned() };
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(MAIL_WITHIN, search)
        .await
        .map_err(|_| DemoError::Missing("no mail reached the reviewer's mailbox"))
}

async fn config(
    options: &Options,
    folder: &std::path::Path,
    sample: SocketAddr,
) -> Result<Config, DemoError> {
    let listen = match options.listen {
        Some(address) => address.to_string(),
        // Taken by a broker that is in use: the demo finds another place.
        None => match TcpListener::bind(ADDRESS).await {
            Ok(_) => ADDRESS.to_owned(),
            Err(_) => "127.0.0.1:0".to_owned(),
        },
    };
    std::fs::write(folder.join("policy.json"), POLICY)?;
    let text = format!(
        "[server]\nlisten = \"{listen}\"\n[[upstreams]]\nname = \"images\"\n\
         url = \"http://{sample}/mcp\"\npolicy = \"policy.json\"\n"
    );
    let file = folder.join("placet.toml");
    std::fs::write(&file, &text)?;
    let (mut config, _) =
        Config::read(&text, Some(&file), &Environment::default()).map_err(DemoError::Config)?;
    config.notifiers.push(Notifier {
        name: "mailbox".to_owned(),
        kind: NotifierKind::Memory,
        include_arguments: true,
    });
    Ok(config)
}

/// A fresh folder that only its user can read.
fn folder() -> Result<PathBuf, DemoError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let name = format!("placet-demo-{}", uuid::Uuid::now_v7().simple());
    let path = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}
