//! Whose a resource is. The first upstream, in the order of the configuration, that lists a URI
//! owns it; the same URI of a later one has that upstream's name before it. What is known of the
//! lists is kept for a while per agent, and asked anew when a URI is in none of them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::Agent;
use crate::domain::json::{self, Node};
use crate::domain::time::Timestamp;
use crate::mcp::Mcp;
use crate::mcp::request::{ClientRequest, upstreams_of};
use crate::mcp::uri_template::{MAX_URI, Pattern};

use super::names;
use super::page::{self, Kind, LIST_WITHIN, RESOURCES, TEMPLATES, Turned};

/// How long what was listed is believed.
const KEPT: Duration = Duration::from_secs(30);
/// Most resources of one upstream that are known by their URI; later ones count as not listed.
const MAX_RESOURCES: usize = 10_000;
/// Most templates of one upstream that are known.
const MAX_TEMPLATES: usize = 200;

/// What each agent's upstreams list; as many entries as there are agents.
#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<HashMap<String, Arc<Known>>>);

/// What is known of one agent's upstreams.
#[derive(Debug, Default)]
struct Known {
    /// One question at a time; who comes meanwhile takes its answer.
    asking: tokio::sync::Mutex<()>,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// When the last question began.
    at: Option<Timestamp>,
    by_upstream: HashMap<String, Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    uris: HashSet<String>,
    templates: Vec<Pattern>,
}

impl Known {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().expect("no holder of this lock panics")
    }
}

impl Owners {
    fn of(&self, agent: &Agent) -> Arc<Known> {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        Arc::clone(all.entry(agent.name.clone()).or_default())
    }
}

/// The upstream that a URI (or template) means, and its own form of it.
pub(crate) async fn find(
    mcp: &Mcp,
    incoming: &ClientRequest,
    written: &str,
) -> Option<(String, String)> {
    let upstreams = upstreams_of(mcp, &incoming.agent);
    if let Some((upstream, own)) = names::split_uri(&upstreams, written) {
        return Some((upstream.to_owned(), own.to_owned()));
    }
    let known = mcp.owners.of(&incoming.agent);
    let arrived = mcp.broker.now();
    refresh(mcp, incoming).await;
    let mut owner = known.lists().owner(&upstreams, written);
    if owner.is_none() {
        ask(mcp, incoming, arrived).await;
        owner = known.lists().owner(&upstreams, written);
    }
    Some((owner?, written.to_owned()))
}

/// Asks all upstreams anew if what is known is older than [`KEPT`].
pub(crate) async fn refresh(mcp: &Mcp, incoming: &ClientRequest) {
    let now = mcp.broker.now();
    let known = mcp.owners.of(&incoming.agent);
    let at = known.lists().at;
    if at.is_none_or(|at| at.plus(KEPT) <= now) {
        ask(mcp, incoming, now).await;
    }
}

/// Asks anew, unless somebody did since `arrived`.
async fn ask(mcp: &Mcp, incoming: &ClientRequest, arrived: Timestamp) {
    let known = mcp.owners.of(&incoming.agent);
    let _one_at_a_time = known.asking.lock().await;
    if known.lists().at.is_some_and(|at| at > arrived) {
        return;
    }
    let began = mcp.broker.now();
    let upstreams = upstreams_of(mcp, &incoming.agent);
    let answers = join_all(upstreams.iter().map(|upstream| async move {
        let listed = listed(mcp, incoming, upstream);
        let listed = tokio::time::timeout(LIST_WITHIN, listed).await.ok().flatten();
        (upstream, listed)
    }))
    .await;
    let mut lists = known.lists();
    for (upstream, listed) in answers {
        // An upstream that could not be asked keeps what it owned: its URIs must not become
        // another's.
        if let Some(listed) = listed {
            lists.by_upstream.insert(upstream.clone(), listed);
        }
    }
    lists.at = Some(began);
}

/// Everything one upstream lists; none if it could not be asked for all of it.
async fn listed(mcp: &Mcp, incoming: &ClientRequest, upstream: &str) -> Option<Listed> {
    let (resources, templates) = tokio::join!(
        all_pages(mcp, incoming, upstream, &RESOURCES, MAX_RESOURCES),
        all_pages(mcp, incoming, upstream, &TEMPLATES, MAX_TEMPLATES),
    );
    let templates = templates?.iter().map(|t| Pattern::new(t)).collect();
    Some(Listed { uris: resources?.into_iter().collect(), templates })
}

async fn all_pages(
    mcp: &Mcp,
    incoming: &ClientRequest,
    upstream: &str,
    kind: &Kind,
    most: usize,
) -> Option<Vec<String>> {
    // What the client sent with its own request has no place in these.
    let mut own = incoming.clone();
    own.message.params = None;
    let cancel = CancellationToken::new();
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    let mut followed = HashSet::new();
    for _ in 0..mcp.broker.config().server.max_list_pages {
        let turned = page::page(mcp, &own, upstream, kind, cursor.as_deref(), &cancel).await;
        let Turned::Page(page) = turned else { return None };
        let name = |entry: &String| {
            let node = json::parse(entry).ok()?;
            Some(node.get(kind.name).and_then(Node::as_str)?.to_owned())
        };
        all.extend(page.entries.iter().filter_map(name).take(most - all.len()));
        // A cursor that was followed already leads in a circle.
        cursor = page.next.filter(|next| followed.insert(next.clone()));
        if cursor.is_none() || all.len() == most {
            break;
        }
    }
    Some(all)
}

/// How an entry of a list is shown; what it names is known from now on.
pub(crate) fn shown(mcp: &Mcp, agent: &Agent, upstream: &str, kind: &Kind, own: &str) -> String {
    mcp.owners.of(agent).lists().learn(upstream, kind, own);
    told(mcp, agent, upstream, kind, own)
}

/// How a URI (or template) that an upstream speaks of is told.
pub(crate) fn told(mcp: &Mcp, agent: &Agent, upstream: &str, kind: &Kind, own: &str) -> String {
    let upstreams = upstreams_of(mcp, agent);
    let known = mcp.owners.of(agent);
    let earlier = upstreams.iter().take_while(|u| *u != upstream);
    let is_taken = known.lists().is_taken(earlier, kind, own);
    // What begins like another form of this kind would be read as that.
    if is_taken || names::split_uri(&upstreams, own).is_some() {
        names::uri(upstream, own)
    } else {
        own.to_owned()
    }
}

/// A URI in its normal form; none where it has none.
pub(crate) fn normal(uri: &str) -> Option<String> {
    let read = (uri.len() <= MAX_URI).then(|| Url::parse(uri).ok());
    read.flatten().map(String::from)
}

impl Lists {
    /// The first that lists this URI or template, else the same URI spelled differently (clients
    /// write URIs in their normal form), else the first with a template it may be of.
    fn owner(&self, upstreams: &[String], written: &str) -> Option<String> {
        let lists = |u: &&String| {
            let listed = self.by_upstream.get(*u);
            listed.is_some_and(|l| {
                l.uris.contains(written) || l.templates.iter().any(|t| t.text() == written)
            })
        };
        let fits = |u: &&String| {
            let listed = self.by_upstream.get(*u);
            listed.is_some_and(|l| l.templates.iter().any(|t| t.fits(written)))
        };
        let wanted = normal(written);
        let means = |u: &&String| {
            let listed = self.by_upstream.get(*u);
            wanted.is_some()
                && listed.is_some_and(|l| l.uris.iter().any(|uri| normal(uri) == wanted))
        };
        let find = || upstreams.iter().find(lists).or_else(|| upstreams.iter().find(means));
        find().or_else(|| upstreams.iter().find(fits)).cloned()
    }

    /// Whether one of these lists the same.
    fn is_taken<'u>(
        &self,
        mut upstreams: impl Iterator<Item = &'u String>,
        kind: &Kind,
        own: &str,
    ) -> bool {
        let template = (*kind == TEMPLATES).then(|| Pattern::new(own));
        upstreams.any(|upstream| {
            let Some(listed) = self.by_upstream.get(upstream) else { return false };
            match &template {
                Some(template) => listed.templates.iter().any(|t| t.is_like(template)),
                None => listed.uris.contains(own),
            }
        })
    }

    fn learn(&mut self, upstream: &str, kind: &Kind, own: &str) {
        let listed = self.by_upstream.entry(upstream.to_owned()).or_default();
        if *kind == RESOURCES {
            if listed.uris.len() < MAX_RESOURCES {
                listed.uris.insert(own.to_owned());
            }
        } else if listed.templates.len() < MAX_TEMPLATES
            && !listed.templates.iter().any(|t| t.text() == own)
        {
            listed.templates.push(Pattern::new(own));
        }
    }
}
