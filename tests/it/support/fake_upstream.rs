//! An upstream that does as it is told and remembers what it was sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use placet::domain::classify::Classified;
use placet::upstream::{
    Caller, Catalog, Notification, Notifications, Reply, Request, ServerFacts, ServerRequest, Tool,
    Upstream, UpstreamError, WireEra,
};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::soon;

/// What it does with one request.
#[derive(Debug, Clone)]
pub enum Does {
    /// Answers with this raw result.
    Answers(String),
    /// Answers with this raw JSON-RPC error.
    Errs(String),
    /// Can't be reached.
    IsAway,
    /// Takes it and falls silent.
    Breaks,
    /// Fails in Placet's own code.
    Panics,
    /// Lets its time pass, then answers when it may go on.
    AnswersLate,
    /// Works until it is cancelled, and then does this.
    WhenCancelled(Box<Does>),
}

/// What it does with a request.
type Rule = Arc<dyn Fn(&Request) -> Does + Send + Sync>;

/// The upstream `images`.
pub struct FakeUpstream {
    sent: Mutex<Vec<Request>>,
    plan: Mutex<VecDeque<Does>>,
    catalog: Mutex<Option<Arc<Catalog>>>,
    next_list: Mutex<Option<Arc<Catalog>>>,
    hidden: Mutex<Option<Arc<Catalog>>>,
    arrivals: watch::Sender<usize>,
    gate: Semaphore,
    gated: Mutex<bool>,
    by: Mutex<Option<Rule>>,
    news: broadcast::Sender<Notification>,
    kept: Mutex<Vec<Notifications>>,
    sessions: Mutex<Vec<Caller>>,
    left: Mutex<Vec<Caller>>,
    slow: Mutex<VecDeque<Pause>>,
    between: Mutex<VecDeque<Pause>>,
    /// Whether it never answers when its tools are to be listed.
    pub never_lists: std::sync::atomic::AtomicBool,
}

/// A place where one request stands still until it is let go.
#[derive(Debug, Clone)]
pub struct Pause {
    reached: watch::Sender<bool>,
    go: Arc<Semaphore>,
}

impl Pause {
    fn new() -> Self {
        Self { reached: watch::channel(false).0, go: Arc::new(Semaphore::new(0)) }
    }

    async fn here(&self) {
        self.reached.send_replace(true);
        self.go.acquire().await.unwrap().forget();
    }

    /// Waits until a request stands there.
    pub async fn reached(&self) {
        soon("a pause", self.reached.subscribe().wait_for(|is| *is)).await.unwrap();
    }

    /// Lets it go on.
    pub fn ends(&self) {
        self.go.add_permits(1);
    }
}

impl FakeUpstream {
    /// Answers everything with `done`, and lists the tools of the sample policy.
    pub fn new() -> Arc<Self> {
        let upstream = Self {
            sent: Mutex::default(),
            plan: Mutex::default(),
            catalog: Mutex::default(),
            next_list: Mutex::default(),
            hidden: Mutex::default(),
            arrivals: watch::channel(0).0,
            gate: Semaphore::new(0),
            gated: Mutex::new(false),
            by: Mutex::default(),
            news: broadcast::channel(8).0,
            kept: Mutex::default(),
            sessions: Mutex::default(),
            left: Mutex::default(),
            slow: Mutex::default(),
            between: Mutex::default(),
            never_lists: std::sync::atomic::AtomicBool::new(false),
        };
        upstream.lists(&[("delete_image_set", "1"), ("list_image_sets", "1")]);
        Arc::new(upstream)
    }

    /// Its tools: name and fingerprint.
    pub fn lists(&self, tools: &[(&str, &str)]) {
        let tools = tools
            .iter()
            .map(|(name, fingerprint)| {
                let risk = Classified::of(&format!(r#"{{"name":"{name}"}}"#), false);
                Tool {
                    name: (*name).to_owned(),
                    raw: "{}".to_owned(),
                    fingerprint: (*fingerprint).to_owned(),
                    own: risk.clone(),
                    risk,
                }
            })
            .collect();
        *self.catalog.lock().unwrap() = Some(Arc::new(Catalog { tools, known: None }));
    }

    /// Its tools at the next list that is asked for.
    pub fn lists_next(&self, tools: &[(&str, &str)]) {
        let known = self.catalog.lock().unwrap().take();
        self.lists(tools);
        let next = self.catalog.lock().unwrap().take();
        *self.next_list.lock().unwrap() = next;
        *self.catalog.lock().unwrap() = known;
    }

    /// As after a start: nothing is known until it is asked; none if it can't be asked.
    pub fn forgets_its_list(&self, reachable: bool) {
        let list = self.catalog.lock().unwrap().take();
        *self.hidden.lock().unwrap() = list.filter(|_| reachable);
    }

    /// What it does next, in order; afterwards it answers `done` again.
    pub fn next(&self, plan: impl IntoIterator<Item = Does>) {
        self.plan.lock().unwrap().extend(plan);
    }

    /// What it does from now on, for each request.
    pub fn answers_by(&self, rule: impl Fn(&Request) -> Does + Send + Sync + 'static) {
        *self.by.lock().unwrap() = Some(Arc::new(rule));
    }

    /// From now on requests wait until [`Self::goes_on`].
    pub fn hangs(&self) {
        *self.gated.lock().unwrap() = true;
    }

    /// Lets one waiting request go on.
    pub fn goes_on(&self) {
        self.gate.add_permits(1);
    }

    /// Waits until so many requests have arrived.
    pub async fn arrived(&self, n: usize) {
        let mut arrivals = self.arrivals.subscribe();
        soon("a request upstream", arrivals.wait_for(|seen| *seen >= n)).await.unwrap();
    }

    /// The next request that comes takes so long to connect.
    pub fn connects_slowly(&self) -> Pause {
        let pause = Pause::new();
        self.slow.lock().unwrap().push_back(pause.clone());
        pause
    }

    /// The next request that may go out stands still before its first byte.
    pub fn stands_still(&self) -> Pause {
        let pause = Pause::new();
        self.between.lock().unwrap().push_back(pause.clone());
        pause
    }

    /// How many requests arrived.
    pub fn calls(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// The method of the last request.
    pub fn last_method(&self) -> String {
        self.sent.lock().unwrap().last().unwrap().method.clone()
    }

    /// Keeps something for this session of `ci`, or for the agent itself.
    pub fn keeps_for(&self, session: Option<&str>) {
        self.sessions.lock().unwrap().push(Caller::new("ci", session));
    }

    /// The sessions it was told to close, in that order.
    pub fn left(&self) -> Vec<String> {
        self.left.lock().unwrap().iter().filter_map(|c| c.session.clone()).collect()
    }

    /// Every request that arrived.
    pub fn sent(&self) -> Vec<Request> {
        self.sent.lock().unwrap().clone()
    }

    /// Raw `params` of the last request.
    pub fn last_params(&self) -> String {
        self.sent.lock().unwrap().last().unwrap().params.as_deref().unwrap().to_owned()
    }
}

#[async_trait]
impl Upstream for FakeUpstream {
    async fn request(
        &self,
        _caller: &Caller,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let overdue = request.overdue.clone();
        let slow = self.slow.lock().unwrap().pop_front();
        if let Some(pause) = slow {
            pause.here().await;
        }
        if let Some(gate) = &request.gate {
            let leave = gate.pass().await.map_err(UpstreamError::NotSent)?;
            let between = self.between.lock().unwrap().pop_front();
            if let Some(pause) = between {
                pause.here().await;
            }
            if !leave.is_good() {
                return Err(UpstreamError::NotSent("too late".to_owned()));
            }
        }
        let rule = self.by.lock().unwrap().clone();
        let ruled = rule.map(|rule| rule(&request));
        // Without its gate, which knows the broker, which knows this upstream.
        self.sent.lock().unwrap().push(Request { gate: None, ..request });
        // Kept open for longer than the request, as a connection's own task might.
        self.kept.lock().unwrap().extend(notifications);
        self.arrivals.send_modify(|n| *n += 1);
        if *self.gated.lock().unwrap() {
            self.gate.acquire().await.unwrap().forget();
        }
        let mut does = ruled.or_else(|| self.plan.lock().unwrap().pop_front());
        if let Some(Does::WhenCancelled(then)) = does {
            cancel.cancelled().await;
            does = Some(*then);
        }
        match does {
            Some(Does::WhenCancelled(_)) => panic!("it is cancelled once"),
            None => Ok(Reply::Result(r#"{"content":[],"said":"done"}"#.to_owned())),
            Some(Does::Answers(raw)) => Ok(Reply::Result(raw)),
            Some(Does::Errs(raw)) => Ok(Reply::Error(raw)),
            Some(Does::IsAway) => Err(UpstreamError::NotSent("refused".to_owned())),
            Some(Does::Breaks) => Err(UpstreamError::Lost("reset".to_owned())),
            Some(Does::Panics) => panic!("as planned by the test"),
            Some(Does::AnswersLate) => {
                overdue.unwrap().cancel();
                self.gate.acquire().await.unwrap().forget();
                Ok(Reply::Result(r#"{"content":[],"said":"late"}"#.to_owned()))
            }
        }
    }

    async fn notify(&self, _caller: &Caller, _method: &str, _params: Option<String>) {}

    async fn facts(&self, _caller: &Caller) -> Result<ServerFacts, UpstreamError> {
        Ok(ServerFacts {
            era: WireEra::Legacy,
            version: "2025-11-25".to_owned(),
            capabilities: "{}".to_owned(),
            server_info: "{}".to_owned(),
            instructions: None,
        })
    }

    fn catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.lock().unwrap().clone()
    }

    async fn tools_within(&self, _age: std::time::Duration) -> Result<Arc<Catalog>, UpstreamError> {
        if self.never_lists.load(std::sync::atomic::Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if let Some(next) = self.next_list.lock().unwrap().take() {
            *self.catalog.lock().unwrap() = Some(next);
        }
        match self.catalog() {
            Some(catalog) => Ok(catalog),
            None => self.refresh().await,
        }
    }

    async fn refresh(&self) -> Result<Arc<Catalog>, UpstreamError> {
        let mut catalog = self.catalog.lock().unwrap();
        if catalog.is_none() {
            catalog.clone_from(&self.hidden.lock().unwrap());
        }
        catalog.clone().ok_or_else(|| UpstreamError::NotSent("refused".to_owned()))
    }

    fn subscribe(&self, _caller: &Caller) -> broadcast::Receiver<Notification> {
        self.news.subscribe()
    }

    fn server_requests(&self, _caller: &Caller) -> tokio::sync::mpsc::Receiver<ServerRequest> {
        tokio::sync::mpsc::channel(1).1
    }

    async fn close_session(&self, caller: &Caller) {
        self.sessions.lock().unwrap().retain(|c| c.session != caller.session);
        self.left.lock().unwrap().push(caller.clone());
    }

    fn sessions(&self) -> Vec<Caller> {
        self.sessions.lock().unwrap().clone()
    }

    async fn shutdown(&self) {}
}
