//! What holding costs the store while nothing happens.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::call::asking::Asking;
use crate::broker::call::attached::HoldGuard;
use crate::broker::call::execute::Wishes;
use crate::broker::call::hold::{Held, Terms, beats};
use crate::broker::{Broker, Parts, Stop};
use crate::clock::ManualClock;
use crate::config::tests::config;
use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::time::Timestamp;
use crate::fixtures::pending;
use crate::id::OsIds;
use crate::store::sql::SqlStore;
use crate::store::{NewHold, Result, Store};
use crate::upstream::ClientCapabilities;

/// How many are held.
const HELD: usize = 1_000;

const CONFIG: &str = r#"
[[agents]]
name = "ci"
token = "agent-token-agent-token"
"#;

/// Counts how often each noun of the store was asked for something.
struct Counted {
    store: SqlStore,
    changes: AtomicUsize,
    others: AtomicUsize,
}

macro_rules! counted {
    ($($noun:ident: $path:ident::$face:ident,)*) => {
        #[async_trait]
        impl Store for Counted {
            $(fn $noun(&self) -> &dyn crate::store::$path::$face {
                let of = if stringify!($noun) == "changes" { &self.changes } else { &self.others };
                of.fetch_add(1, Ordering::SeqCst);
                self.store.$noun()
            })*

            async fn purge(&self, now: Timestamp, old: crate::store::Old) -> Result<u64> {
                self.store.purge(now, old).await
            }

            async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
                self.store.secret(name, fresh).await
            }

            async fn check(&self) -> Result<()> {
                self.store.check().await
            }
        }
    };
}

counted! {
        approvals: approvals::ApprovalStore,
        due: due::DueStore,
        holds: holds::HoldStore,
        tasks: tasks::TaskStore,
        grants: grants::GrantStore,
        limits: limits::LimitStore,
        counters: counters::CounterStore,
        changes: changes::ChangeStore,
        recorded_calls: recorded_calls::RecordedCallStore,
        channels: channels::ChannelStore,
        outbox: outbox::OutboxStore,
        review_links: review_links::ReviewLinkStore,
        sessions: sessions::SessionStore,
        credentials: credentials::CredentialStore,
        oidc: oidc::OidcStore,
        passkeys: passkeys::PasskeyStore,
        settings: settings::SettingsStore,
        agents: agents::AgentStore,
        client_sessions: client_sessions::ClientSessionStore,
        nodes: nodes::NodeStore,
        copies: copies::CopyStore,
        audit: audit::AuditStore,
}

fn broker(store: Arc<Counted>) -> Broker {
    Broker::new(Parts {
        config: Arc::new(config(CONFIG)),
        store,
        clock: Arc::new(ManualClock::new(Timestamp::from_micros(1_795_377_600_000_000))),
        ids: Arc::new(OsIds),
        upstreams: HashMap::new(),
        masking_key: [1; 32],
        seal_key: [2; 32],
        stop: Stop::default(),
        node: "node-1".to_owned(),
        tracker: TaskTracker::new(),
    })
}

/// A request held for this approval, of which there is no row.
fn held(broker: &Broker, approval: Approval) -> Held {
    let hold = NewHold {
        id: format!("hld_{}", approval.id),
        node: broker.node().to_owned(),
        agent: approval.agent.clone(),
    };
    let guard = HoldGuard::before(broker, &hold).stored(&approval.id, true);
    let asking = Asking {
        agent: broker.config().agent("ci").unwrap().clone(),
        client: None,
        session: None,
        session_began: None,
        features: ClientCapabilities::default(),
        call: approval.call.clone(),
        waits_for: None,
    };
    Held::new(broker.clone(), asking, approval, guard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_held_calls_ask_the_store_nothing_of_their_own_while_nothing_happens() {
    let file = std::env::temp_dir().join(format!("placet-poll-{}.db", std::process::id()));
    let store = SqlStore::open(&format!("sqlite:{}", file.display())).await.unwrap();
    let (changes, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let store = Arc::new(Counted { store, changes, others });
    let broker = broker(Arc::clone(&store));
    let gone = CancellationToken::new();
    let mut heard = Vec::new();
    for n in 0..HELD {
        let id = ApprovalId::new(uuid::Uuid::from_u128(n as u128));
        let call = format!(r#"{{"name":"delete_image_set","arguments":{{"n":{n}}}}}"#);
        let approval = Approval { version: 1, ..pending(id, &call, &["ben"], broker.now()) };
        let (tell, beats) = beats(8);
        let terms = Terms {
            budget: Duration::from_hours(1),
            heartbeat: Duration::from_millis(100),
            beats: tell,
            gone: gone.clone(),
            enough: CancellationToken::new(),
            wishes: Wishes::default(),
        };
        heard.push(beats);
        broker.tracker().spawn(held(&broker, approval).run(terms));
    }
    // As long as a few polls take, measured by what goes on meanwhile.
    for _ in 0..16 {
        for beats in &mut heard {
            assert!(beats.recv().await.is_some());
        }
    }

    let asked = (store.changes.load(Ordering::SeqCst), store.others.load(Ordering::SeqCst));
    assert!((2..=8).contains(&asked.0) && asked.1 == 0, "{asked:?}");
    gone.cancel();
    broker.tracker().close();
    broker.tracker().wait().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
}
