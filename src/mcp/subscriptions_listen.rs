//! `subscriptions/listen`: acknowledged with what is honoured, then only that, each message tagged
//! with the request's id.
//!
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions#receiving-notifications>

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;

use crate::domain::call::params_with_meta;
use crate::domain::json::{self, Node};
use crate::mcp::session::subscriptions::{covers, updated};
use crate::mcp::stream::stream_limit::Listener;
use crate::protocol::{code, jsonrpc, meta, method};
use crate::upstream::{Notification, Watch, Watching};

use super::call::admission;
use super::notifications::{Heard, News};
use super::request::{self, ClientRequest};
use super::respond::json_response;
use super::stream::Events;
use super::tasks::Watch as TaskWatch;
use super::{FACTS_WITHIN, Mcp, aggregate};

/// The lists a client may subscribe to: the key, the feature, and the notification.
const LISTS: [(&str, &str, &str); 3] = [
    ("toolsListChanged", "tools", method::NOTIFICATIONS_TOOLS_LIST_CHANGED),
    ("promptsListChanged", "prompts", method::NOTIFICATIONS_PROMPTS_LIST_CHANGED),
    ("resourcesListChanged", "resources", method::NOTIFICATIONS_RESOURCES_LIST_CHANGED),
];

/// What the client asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// Keys of [`LISTS`].
    lists: Vec<&'static str>,
    uris: Vec<String>,
}

impl Wanted {
    /// Reads `params.notifications`.
    ///
    /// # Errors
    /// Which member has the wrong type, in words.
    fn read(params: Option<&Node<'_>>) -> Result<Self, String> {
        let filter = params.and_then(|p| p.get("notifications"));
        let filter = filter
            .filter(|f| f.is_object())
            .ok_or_else(|| "params.notifications must be an object".to_owned())?;
        let mut wanted = Self::default();
        for (key, ..) in LISTS {
            match filter.get(key) {
                None => {}
                Some(on) => match on.as_bool() {
                    Some(true) => wanted.lists.push(key),
                    Some(false) => {}
                    None => return Err(format!("params.notifications.{key} must be a boolean")),
                },
            }
        }
        if let Some(list) = filter.get("resourceSubscriptions") {
            let strings = || "params.notifications.resourceSubscriptions must be a list of strings";
            for uri in list.elements().ok_or_else(strings)? {
                let uri = uri.as_str().ok_or_else(strings)?;
                if !wanted.uris.iter().any(|u| u == uri) {
                    wanted.uris.push(uri.to_owned());
                }
            }
        }
        Ok(wanted)
    }
}

/// What is honoured, and kept up for as long as this lives.
struct Honoured {
    lists: Vec<(&'static str, &'static str)>,
    watches: Vec<Watched>,
}

impl Honoured {
    /// The subset of what is asked for that can be told. A server that can't be asked now is
    /// asked as soon as it can be.
    async fn of(mcp: &Mcp, incoming: &ClientRequest, wanted: Wanted) -> Self {
        let behind = request::behind(mcp, &incoming.agent, &incoming.upstream);
        let capabilities = join_all(behind.iter().map(|name| capabilities(mcp, incoming, name)));
        let capabilities = capabilities.await;
        let lists = LISTS
            .into_iter()
            .filter(|(key, feature, _)| {
                // Policies change what tools are listed, whatever servers say of themselves.
                wanted.lists.contains(key)
                    && (*feature == "tools"
                        || capabilities.iter().any(|c| changes(c.as_deref(), feature)))
            })
            .map(|(key, _, method)| (key, method))
            .collect();
        let max = mcp.broker.config().server.max_subscriptions as usize;
        let watches = wanted.uris.into_iter().take(max);
        let watches = join_all(watches.map(|uri| Watched::of(mcp, incoming, uri))).await;
        Self { lists, watches: watches.into_iter().flatten().collect() }
    }

    fn as_json(&self, tasks: Option<&str>) -> String {
        let uris = json::array(self.watches.iter().map(|w| json::quote(&w.written)));
        let resources = (!self.watches.is_empty()).then_some(("resourceSubscriptions", &*uris));
        let tasks = tasks.map(|ids| ("taskIds", ids));
        let lists = self.lists.iter().map(|(key, _)| (*key, "true"));
        json::object(lists.chain(resources).chain(tasks))
    }

    fn admits(&self, upstream: &str, note: &Notification) -> bool {
        if note.method == method::NOTIFICATIONS_RESOURCES_UPDATED {
            let Some(uri) = updated(note) else { return false };
            return self.watches.iter().any(|w| w.upstream == upstream && covers(&w.own, &uri));
        }
        self.lists.iter().any(|(_, method)| *method == note.method)
    }
}

/// What an upstream says it offers; none where it can't be reached.
async fn capabilities(mcp: &Mcp, incoming: &ClientRequest, upstream: &str) -> Option<String> {
    let server = mcp.broker.upstream(upstream)?;
    let facts = tokio::time::timeout(FACTS_WITHIN, server.facts(&incoming.caller())).await;
    Some(facts.ok()?.ok()?.capabilities)
}

fn changes(capabilities: Option<&str>, feature: &str) -> bool {
    capabilities.is_none_or(|raw| {
        json::parse(raw).is_ok_and(|n| {
            let listed = n.get(feature).and_then(|f| f.get("listChanged"));
            listed.and_then(Node::as_bool) == Some(true)
        })
    })
}

/// A resource that is watched for a stream.
struct Watched {
    /// Its URI as the client wrote it.
    written: String,
    upstream: String,
    /// Its URI at the upstream.
    own: String,
    _watch: Watch,
}

impl Watched {
    /// Begins to watch; none where the policy or the server refuses. The policy judges it as a
    /// subscription of the legacy era.
    async fn of(mcp: &Mcp, incoming: &ClientRequest, written: String) -> Option<Self> {
        let mut asked = incoming.clone();
        method::RESOURCES_SUBSCRIBE.clone_into(&mut asked.message.method);
        let params = json::Text::own(json::object([("uri", json::quote(&written).as_str())]));
        asked.message.params = Some(params.clone());
        let mut own = written.clone();
        if incoming.upstream.is_empty() {
            asked = aggregate::resolve(mcp, asked, Some(&params.node())).await;
            let params = asked.message.params.as_ref()?;
            own = params.node().get("uri").and_then(Node::as_str)?.to_owned();
        }
        let server = mcp.broker.upstream(&asked.upstream)?;
        if admission::refusal(mcp, &asked).await.is_some() {
            return None;
        }
        match server.watch(&incoming.caller(), &own, None).await {
            Watching::Agreed(watch) | Watching::Later(watch, _) => {
                Some(Self { written, upstream: asked.upstream, own, _watch: watch })
            }
            Watching::Refused(_) => None,
        }
    }
}

/// Opens the stream of a subscription; refused for a filter that can't be read, or where the agent
/// has too many streams.
pub(crate) fn listen(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
    tasks: TaskWatch,
) -> Response {
    let id = incoming.message.id_raw();
    let wanted = match Wanted::read(params) {
        Ok(wanted) => wanted,
        Err(why) => {
            let error = jsonrpc::error(id, code::INVALID_PARAMS, &why, None);
            return json_response(StatusCode::OK, error);
        }
    };
    let max = mcp.broker.config().server.max_streams_per_agent;
    let Some(open) = mcp.listeners.open(&incoming.agent.name, max) else {
        let why =
            format!("this token has {max} open streams (server.max_streams_per_agent): close one");
        let error = jsonrpc::error(id, code::INTERNAL_ERROR, &why, None);
        return json_response(StatusCode::TOO_MANY_REQUESTS, error);
    };
    // Whatever is said from now on is heard.
    let behind = request::behind(mcp, &incoming.agent, &incoming.upstream);
    let news = News::of(mcp, &behind, &incoming.caller());
    let (events, response) = Events::open();
    let (again, incoming) = (mcp.clone(), incoming.clone());
    let asked = Asked { wanted, tasks };
    mcp.broker.tracker().spawn(run(again, incoming, asked, news, events, open));
    response
}

/// Everything that one stream was asked for.
struct Asked {
    wanted: Wanted,
    tasks: TaskWatch,
}

async fn run(
    mcp: Mcp,
    incoming: ClientRequest,
    asked: Asked,
    mut news: News,
    events: Events,
    _open: Listener,
) {
    let id = incoming.message.id_raw();
    let tag = json::object([(meta::SUBSCRIPTION_ID, id)]);
    let mut beat = tokio::time::interval(mcp.broker.config().approvals.heartbeat);
    let soft = mcp.broker.stop().soft.clone();
    let end = jsonrpc::result(id, &format!("{{\"resultType\":\"complete\",\"_meta\":{tag}}}"));
    let honoured = {
        let honoured = Honoured::of(&mcp, &incoming, asked.wanted);
        tokio::pin!(honoured);
        loop {
            tokio::select! {
                honoured = &mut honoured => break honoured,
                () = events.closed() => return,
                () = soft.cancelled() => {
                    events.message(&end).await;
                    return;
                }
                _ = beat.tick() => events.comment(),
            }
        }
    };
    let params = format!(
        "{{\"notifications\":{},\"_meta\":{tag}}}",
        honoured.as_json(asked.tasks.honoured().as_deref())
    );
    let ack =
        jsonrpc::notification(method::NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED, Some(&params));
    if !events.message(&ack).await {
        return;
    }
    let tell = asked.tasks.run(mcp.clone(), incoming.clone(), events.clone());
    let told = mcp.broker.tracker().spawn(tell);
    loop {
        let note = tokio::select! {
            () = events.closed() => return,
            () = soft.cancelled() => break,
            _ = beat.tick() => {
                events.comment();
                continue;
            }
            said = news.next() => match said {
                Some((upstream, Heard::Notification(note))) if honoured.admits(&upstream, &note) => {
                    if incoming.upstream.is_empty() {
                        aggregate::told(&mcp, &incoming.agent, &upstream, note)
                    } else {
                        note
                    }
                }
                Some(_) => continue,
                None => break,
            },
        };
        let params = note.params.as_deref().unwrap_or("{}");
        let params = params_with_meta(params, &[(meta::SUBSCRIPTION_ID, id.to_owned())]);
        events.try_message(&jsonrpc::notification(&note.method, Some(&params)));
    }
    // The end is the last thing on the stream.
    told.abort();
    let _ = told.await;
    events.message(&end).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(params: &str) -> Result<Wanted, String> {
        Wanted::read(Some(&json::parse(params).unwrap()))
    }

    #[test]
    fn a_filter_is_read_strictly() {
        let both = wanted(
            r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a:1","a:1","a:2"],"other":7}}"#,
        );

        let uris = vec!["a:1".to_owned(), "a:2".to_owned()];
        assert_eq!(both, Ok(Wanted { lists: vec!["toolsListChanged"], uris }));
        for wrong in [
            "{}",
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"toolsListChanged":"yes"}}"#,
            r#"{"notifications":{"resourceSubscriptions":"a:1"}}"#,
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
        ] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
        assert!(Wanted::read(None).is_err());
    }
}
