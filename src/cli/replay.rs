//! `placet policy replay`: what a candidate would have made of recorded calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::clock::{Clock as _, SystemClock};
use crate::config::{AuditCalls, Config, Upstream};
use crate::domain::call::{Method, ToolCall};
use crate::domain::policy::Policy;
use crate::domain::policy::replay::{Caller, Counts, Key, Replay, Then};
use crate::domain::risk::RiskClass;
use crate::domain::time::{self, Timestamp};
use crate::store::Store as _;
use crate::store::recorded_calls::Became;
use crate::store::sql::SqlStore;
use crate::store::sqlite_file::SqliteFile;
use crate::upstream::Catalog;

use super::{Failure, Global, complain, load, named, policy_test, say, store, text};

/// What `--help` says at its end.
pub(crate) const HELP: &str = "Reads the calls that the database of the configuration has on \
                               record, and compares what became of each with what the candidate \
                               says. Calls nothing, changes nothing. Arguments are on record only \
                               where people were asked; what depends on others is counted by \
                               itself. Limits are not counted.\n\nExamples:\n  placet policy \
                               replay images.json --since 30d\n  placet policy replay new.yaml \
                               --upstream images --connect --json";

/// Records looked at in one question to the database.
const PIECE: i64 = 100_000;

/// Calls that people were asked about, read at once.
const PAGE: u32 = 1_000;

/// Most lines of the table for people; `--json` has all.
const MAX_LINES: usize = 50;

/// How often what takes long says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

const DAY: f64 = 86_400.0;

/// `policy replay`
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// The candidate's file; YAML where its name ends in .yaml or .yml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only calls this young (7d) or since this instant (2026-11-22T20:00:00Z)
    #[arg(long, value_name = "SINCE", default_value = "7d")]
    pub since: String,
    /// The upstream [default: that whose policy is FILE, else the only one]
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// Fetch the upstream's list of tools, by which the class of the tools' calls is known
    #[arg(long)]
    pub connect: bool,
}

/// Replays and prints.
///
/// # Errors
/// The configuration, the candidate or an argument is wrong, exit code 2; the database can't be read or
/// the upstream not be reached, exit code 1.
pub(crate) async fn run(global: &Global, args: &ReplayArgs) -> Result<(), Failure> {
    let config = load(global)?;
    let upstream = upstream_of(&config, args)?;
    let since = store::since(&args.since)?;
    let policy = policy_test::read(&args.file)?;
    let catalog = if args.connect { Some(named::tools_of(&config, upstream).await?) } else { None };
    if SqliteFile::of(config.database.url.expose()).is_some_and(|file| !file.path().exists()) {
        return Err(Failure::failed(
            "database.url: there is no database yet, so nothing is on record",
        ));
    }
    let store = store::open(&config).await?;
    let judge = Judge { policy: &policy, upstream: &upstream.name, catalog };
    let replayed = replay(&store, &judge, since).await;
    store.close().await;
    let (replay, from) = replayed?;
    let report = Report::new(&config, &policy, &args.file, &upstream.name, &replay, from);
    say(&if global.json { report.as_json() } else { report.as_text() });
    Ok(())
}

fn upstream_of<'c>(config: &'c Config, args: &ReplayArgs) -> Result<&'c Upstream, Failure> {
    if let Some(name) = &args.upstream {
        return named::upstream(config, "--upstream ", name);
    }
    let whole = |file: &Path| std::fs::canonicalize(file).ok();
    let file = whole(&args.file);
    let is_its = |u: &&Upstream| file.is_some() && u.policy_file.as_deref().and_then(whole) == file;
    let its: Vec<&Upstream> = config.upstreams.iter().filter(is_its).collect();
    match (its.as_slice(), config.upstreams.as_slice()) {
        ([one], _) => Ok(one),
        ([], [only]) => Ok(only),
        _ => {
            let names: Vec<&str> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
            let why = "whose calls? Name the upstream with --upstream";
            Err(Failure::misused(format!("{why}; known: {}", names.join(", "))))
        }
    }
}

struct Judge<'p> {
    policy: &'p Policy,
    upstream: &'p str,
    catalog: Option<Arc<Catalog>>,
}

impl Judge<'_> {
    fn caller<'c>(&'c self, agent: &'c str, method: Method, tool: &str) -> Caller<'c> {
        Caller { agent, upstream: self.upstream, risk: self.class(method, tool) }
    }

    fn class(&self, method: Method, tool: &str) -> Option<RiskClass> {
        let catalog = self.catalog.as_ref().filter(|_| method == Method::CallTool)?;
        Some(catalog.find(tool)?.risk.class)
    }
}

const fn then(became: Became) -> Then {
    match became {
        Became::Allowed => Then::Allowed,
        Became::Denied => Then::Denied,
        Became::Limited => Then::Limited,
        Became::Asked => Then::Asked,
    }
}

/// All recorded calls, piece by piece; with them, from when on there are records.
async fn replay(
    store: &SqlStore,
    judge: &Judge<'_>,
    since: Timestamp,
) -> Result<(Replay, Timestamp), Failure> {
    let failed = |error: crate::store::StoreError| Failure::failed(error.to_string());
    let calls = store.recorded_calls();
    let mut replay = Replay::default();
    let newest = calls.newest().await.map_err(failed)?;
    let first = store.audit().list(0, 1).await.map_err(failed)?;
    // A record's number is never smaller than its place in the chain. The newest may have none yet.
    let mut after = first.first().map_or(0, |record| record.seq - 1);
    let from = first.first().map_or(since, |record| record.at.max(since));
    let mut told = Instant::now();
    while after < newest {
        let to = newest.min(after.saturating_add(PIECE));
        for found in calls.counted(judge.upstream, since, after, to).await.map_err(failed)? {
            let caller = judge.caller(&found.agent, found.method, &found.tool);
            let judged = judge.policy.judge_unseen(caller, found.method, &found.tool);
            let key = Key { agent: found.agent, method: found.method.as_str(), tool: found.tool };
            replay.add(key, then(found.became), &judged, found.count);
        }
        after = to;
        progress(&mut told, || format!("looked at {after} of {newest} records"));
    }
    let (mut after, mut asked, mut unreadable) = (None, 0_u64, 0_u64);
    loop {
        let page =
            calls.asked(judge.upstream, since, after.as_ref(), PAGE).await.map_err(failed)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for found in &page {
            let Ok(call) = ToolCall::read_as(found.method, judge.upstream, &found.params) else {
                unreadable += 1;
                continue;
            };
            let caller = judge.caller(&found.agent, found.method, &call.tool);
            match judge.policy.judge_recorded(caller, found.method, &found.params) {
                Ok(judged) => {
                    let key = Key {
                        agent: found.agent.clone(),
                        method: found.method.as_str(),
                        tool: call.shown_tool().into_owned(),
                    };
                    replay.add(key, Then::Asked, &judged, 1);
                }
                Err(_) => unreadable += 1,
            }
        }
        asked += page.len() as u64;
        progress(&mut told, || format!("looked at {asked} calls that people were asked about"));
    }
    if unreadable > 0 {
        complain(&format!("warning: {unreadable} recorded calls can't be read and are left out"));
    }
    Ok((replay, from))
}

fn progress(told: &mut Instant, words: impl FnOnce() -> String) {
    if told.elapsed() >= PROGRESS {
        *told = Instant::now();
        complain(&words());
    }
}

/// What is printed.
struct Report<'r> {
    file: String,
    upstream: &'r str,
    replay: &'r Replay,
    from: Timestamp,
    days: f64,
    /// Questions by reviewer.
    reviewers: BTreeMap<String, u64>,
    /// Questions about agents that the configuration no longer has, which reach nobody.
    of_unknown_agents: u64,
    notes: Vec<&'static str>,
}

impl<'r> Report<'r> {
    fn new(
        config: &Config,
        policy: &Policy,
        file: &Path,
        upstream: &'r str,
        replay: &'r Replay,
        from: Timestamp,
    ) -> Self {
        let mut reviewers: BTreeMap<String, u64> = BTreeMap::new();
        let mut of_unknown_agents = 0;
        for (agent, pointer, count) in replay.questions() {
            let rule = policy.rules().find(|rule| rule.pointer == pointer);
            let (Some(agent), Some(rule)) = (config.agent(agent), rule) else {
                of_unknown_agents += count;
                continue;
            };
            for name in config.reviewers_of(rule, agent).eligible {
                *reviewers.entry(name).or_default() += count;
            }
        }
        let mut notes = Vec::new();
        if config.audit.calls == AuditCalls::Off {
            notes.push("audit.calls is \"off\": calls that were let through are not on record");
        }
        if replay.all.on_risk > 0 {
            notes.push("the risk of some tools is not known: --connect fetches their list");
        }
        // Less than a day is no base for what happens in a day.
        let days = (from.until(SystemClock.now()).as_secs_f64() / DAY).max(1.0);
        let file = file.display().to_string();
        Self { file, upstream, replay, from, days, reviewers, of_unknown_agents, notes }
    }

    fn a_day(&self, count: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people, with one digit")]
        let count = count as f64;
        (count / self.days * 10.0).round() / 10.0
    }

    fn as_text(&self) -> String {
        let Self { replay, upstream, file, from, .. } = self;
        let all = &replay.all;
        let span = time::in_words(Duration::from_secs_f64(self.days * DAY));
        let mut lines = vec![
            format!("{file} on {} calls to {upstream} since {from}, {span}", all.calls),
            format!(
                "{} {}",
                if all.newly_allowed > 0 { "NEWLY ALLOWED:" } else { "newly allowed:" },
                all.newly_allowed
            ),
            format!("newly asked:   {}", all.newly_asked),
            format!("newly denied:  {}", all.newly_denied),
            format!("unchanged:     {}", all.unchanged),
            format!("depends on arguments that are not on record: {}", all.on_arguments),
        ];
        if all.on_risk > 0 {
            lines.push(format!("depends on risk that is not known: {}", all.on_risk));
        }
        let (now, then) = (self.a_day(all.asked_now), self.a_day(all.asked_then));
        lines.push(format!("questions a day: {now:.1}, until now {then:.1}"));
        for (name, count) in &self.reviewers {
            lines.push(format!("    {name}: {:.1}", self.a_day(*count)));
        }
        if self.of_unknown_agents > 0 {
            let count = self.a_day(self.of_unknown_agents);
            lines.push(format!("    agents that are not configured: {count:.1}, to nobody"));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        let rows = replay.rows();
        for (key, counts) in rows.iter().take(MAX_LINES) {
            let what = match key.method {
                method if method == Method::CallTool.as_str() => key.tool.clone(),
                method => format!("{method} {}", key.tool),
            };
            lines.push(format!("{} {what}: {}", key.agent, in_words(counts)));
        }
        if rows.len() > MAX_LINES {
            let left = rows.len() - MAX_LINES;
            lines.push(format!("… {left} more pairs of agent and tool; --json has all"));
        }
        if replay.others.calls > 0 {
            lines.push(format!("all others: {}", in_words(&replay.others)));
        }
        lines.iter().map(|line| text::one_line(line)).collect::<Vec<_>>().join("\n")
    }

    fn as_json(&self) -> String {
        let Self { replay, .. } = self;
        let rows: Vec<Value> = replay
            .rows()
            .iter()
            .map(|(key, counts)| {
                let mut row = counts_json(counts);
                row["agent"] = json!(key.agent);
                row["method"] = json!(key.method);
                row["tool"] = json!(key.tool);
                row
            })
            .collect();
        let reviewers: BTreeMap<&str, f64> =
            self.reviewers.iter().map(|(name, n)| (name.as_str(), self.a_day(*n))).collect();
        json!({
            "file": self.file, "upstream": self.upstream, "since": self.from, "days": self.days,
            "total": counts_json(&replay.all), "rows": rows, "others": counts_json(&replay.others),
            "questions_a_day": {
                "now": self.a_day(replay.all.asked_now), "then": self.a_day(replay.all.asked_then),
                "reviewers": reviewers, "unknown_agents": self.a_day(self.of_unknown_agents),
            },
            "notes": self.notes,
        })
        .to_string()
    }
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "calls": counts.calls, "newly_allowed": counts.newly_allowed,
        "newly_asked": counts.newly_asked, "newly_denied": counts.newly_denied,
        "unchanged": counts.unchanged, "depends_on_arguments": counts.on_arguments,
        "depends_on_risk": counts.on_risk, "asked_then": counts.asked_then,
        "asked_now": counts.asked_now,
    })
}

/// What is not nought.
fn in_words(counts: &Counts) -> String {
    let each = [
        (counts.newly_allowed, "NEWLY ALLOWED"),
        (counts.newly_asked, "newly asked"),
        (counts.newly_denied, "newly denied"),
        (counts.unchanged, "unchanged"),
        (counts.on_arguments, "depend on arguments"),
        (counts.on_risk, "depend on risk"),
    ];
    let words = each.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    words.collect::<Vec<_>>().join(", ")
}
