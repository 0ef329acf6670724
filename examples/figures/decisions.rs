//! From a reviewer's decision to the answer of the request that was held for it.

use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::Value;

use crate::report::{Report, Times, ms};
use crate::world::{Fallible, Place, REVIEWER_TOKEN, World, agent_token, client, hold};

const PART: &str = "decision over the HTTP API until the held client is answered";
/// Decisions of each kind.
const TIMES: usize = 50;

/// Measures.
pub async fn measure(report: &mut Report) -> Fallible<()> {
    let world = World::start(1, "group", Place::Disk).await?;
    let client = client()?;
    for (choice, word) in [("approve", "approved, run, answered"), ("reject", "rejected")] {
        let (mut posted, mut answered) = (Times::default(), Times::default());
        for n in 0..TIMES {
            let (post, answer) = once(&world, &client, choice, &format!("{choice}-{n}")).await?;
            posted.push(post);
            answered.push(answer);
        }
        let base = posted.median();
        report.add(PART, &format!("{choice}: the reviewer's own answer (median)"), base, "ms");
        for (percent, rank) in [(50, "median"), (99, "slowest")] {
            let what = format!("{word}: the held client's ({rank})");
            let value = answered.percentile(percent);
            report.add_ratio(PART, &what, value, "ms", ("the reviewer's own", base));
        }
    }
    world.stop().await
}

/// Times from sending the decision: until it is answered, and until the held request is.
async fn once(
    world: &World,
    client: &Client,
    choice: &str,
    id: &str,
) -> Fallible<(Duration, Duration)> {
    let held = hold(client, &world.endpoint(), &agent_token(0), id).await?;
    let list = format!("{}/api/v1/approvals?state=pending&limit=1", world.base);
    let list: Value = serde_json::from_str(&as_ana(client, &list).await?)?;
    let approval = list["approvals"][0]["id"].as_str().ok_or("nothing waits")?;
    let decision = format!("{}/api/v1/approvals/{approval}/decision", world.base);
    let body = format!(r#"{{"decision":"{choice}","reason":"measured"}}"#);

    let begun = Instant::now();
    let post = async {
        let request = client.post(&decision).bearer_auth(REVIEWER_TOKEN);
        let request = request.header("content-type", "application/json").body(body);
        let status = request.send().await?.error_for_status()?;
        status.bytes().await?;
        Fallible::Ok(begun.elapsed())
    };
    let (posted, answered) = tokio::try_join!(post, answer(held, begun))?;
    Ok((posted, answered))
}

async fn as_ana(client: &Client, url: &str) -> Fallible<String> {
    let request = client.get(url).bearer_auth(REVIEWER_TOKEN);
    Ok(request.send().await?.error_for_status()?.text().await?)
}

/// Reads a held request's stream to its answer.
async fn answer(mut held: Response, begun: Instant) -> Fallible<Duration> {
    let mut text = String::new();
    while let Some(chunk) = held.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        if text.contains("\"result\"") {
            let spent = begun.elapsed();
            if text.contains("[approval_pending]") {
                return Err(format!("handed over after {} ms", ms(spent)).into());
            }
            return Ok(spent);
        }
    }
    Err(format!("no answer: {text}").into())
}
