//! The queue page and the list of the HTTP API in front of a short and a long queue, and what one
//! more submission takes.

use std::time::{Duration, Instant};

use placet::broker::Broker;
use placet::domain::approval::Approval;
use placet::domain::audit::{AuditEvent, Kind};
use placet::id::token_hash;
use placet::store::{NewHold, Session, Store as _, Submit, Submitted};
use placet::web::session::SESSION_COOKIE;
use reqwest::RequestBuilder;

use crate::fixtures::pending;
use crate::report::{Report, Times};
use crate::world::{Fallible, Place, REVIEWER_TOKEN, World, agent_name, client};

const PART: &str = "a short and a long queue (database in memory)";
/// Pending approvals: few, and many.
const PENDING: [u32; 2] = [1_000, 10_000];
/// Requests of each kind.
const TIMES: usize = 60;
/// Submissions whose time is taken at each length.
const SUBMITS: usize = 60;
/// Whose calls they are.
const AGENTS: u32 = 10;
const COOKIE: &str = "figures-session-of-ana";

/// Measures.
pub async fn measure(report: &mut Report) -> Fallible<()> {
    let agents = usize::try_from(AGENTS)?;
    let world = World::start(agents, "group", Place::Memory).await?;
    sign_in(&world).await?;
    let client = client()?;
    let page = client.get(&world.base).header("cookie", format!("{SESSION_COOKIE}={COOKIE}"));
    let list = |query: &str| {
        client.get(format!("{}/api/v1/approvals{query}", world.base)).bearer_auth(REVIEWER_TOKEN)
    };
    let kinds = [
        ("queue page, first byte", page),
        ("API, pending, first byte", list("?state=pending")),
        ("API, pending of one agent, first byte", list("?state=pending&agent=agent-3")),
        ("API, of an agent with none, first byte", list("?state=pending&agent=agent-none")),
    ];
    let mut short: Vec<f64> = Vec::new();
    let mut stored = 0;
    for pending in PENDING {
        let mut submit = Times::default();
        while stored < pending {
            let begun = Instant::now();
            insert(&world, stored).await?;
            stored += 1;
            if stored + u32::try_from(SUBMITS)? > pending {
                submit.push(begun.elapsed());
            }
        }
        world.all_sealed().await?;
        let mut figures = vec![("one more submission to the store", submit.median())];
        for (name, request) in &kinds {
            figures.push((*name, first_byte(request).await?.median()));
        }
        for (n, (name, value)) in figures.into_iter().enumerate() {
            let what = format!("{name}, {pending} pending (median)");
            match short.get(n).copied() {
                Some(base) => {
                    let to = format!("with {}", PENDING[0]);
                    report.add_ratio(PART, &what, value, "ms", (&to, base));
                }
                None => {
                    report.add(PART, &what, value, "ms");
                }
            }
            if pending == PENDING[0] {
                short.push(value);
            }
        }
    }
    drop(kinds);
    drop(client);
    world.stop().await
}

async fn first_byte(request: &RequestBuilder) -> Fallible<Times> {
    let mut times = Times::default();
    for n in 0..=TIMES {
        let request = request.try_clone().ok_or("a request without a body can be sent again")?;
        let begun = Instant::now();
        let response = request.send().await?;
        let spent = begun.elapsed();
        if response.status() != 200 {
            return Err(format!("answered {}", response.status()).into());
        }
        response.bytes().await?;
        // The first one opens the connection.
        if n > 0 {
            times.push(spent);
        }
    }
    Ok(times)
}

async fn sign_in(world: &World) -> Fallible<()> {
    let now = world.broker.now();
    let session = Session {
        hash: token_hash(COOKIE),
        reviewer: "ana".to_owned(),
        via: "token".to_owned(),
        client: None,
        created_at: now,
        seen_at: now,
        entry: world.broker.config().entry_of("ana").unwrap_or_default(),
    };
    Ok(world.store.sessions().insert(&session).await?)
}

/// One more approval, as the broker would store it, of a request that is not held.
async fn insert(world: &World, n: u32) -> Fallible<()> {
    const LIMIT: u32 = 1_000_000;
    let broker = &world.broker;
    let now = broker.now();
    let agent = agent_name(usize::try_from(n % AGENTS)?);
    let approval = approval(broker, &agent, n);
    let submit = Submit {
        events: vec![AuditEvent::of(Kind::ApprovalRequested, &agent, now, &approval)],
        deliveries: Vec::new(),
        hold: NewHold { id: format!("hld_{n}"), node: broker.node().to_owned(), agent },
        max_held: 0,
        max_pending_per_agent: LIMIT,
        max_pending: LIMIT,
        max_new: LIMIT,
        new_since: now.minus(Duration::from_secs(600)),
        owed_since: now.minus(Duration::from_secs(86_400)),
        limit: None,
        approval,
    };
    match world.store.approvals().submit(submit, now).await? {
        Submitted::Created { .. } => Ok(()),
        other => Err(format!("not stored as a new one: {other:?}").into()),
    }
}

fn approval(broker: &Broker, agent: &str, n: u32) -> Approval {
    let now = broker.now();
    let params = format!(
        r#"{{"name":"delete_image_set","arguments":{{"datastore_id":"hospital-main","image_set_id":"{n}","why":"Superseded by a newer scan of the same patient; kept in the cold archive."}}}}"#
    );
    let mut approval = pending(broker.ids().approval(now), &params, &["ana"], now);
    agent.clone_into(&mut approval.agent);
    approval.expires_at = now.plus(Duration::from_secs(3_600));
    approval
}
