//! What is used of the limits of a rule, read from the database for `placet policy explain`.

use crate::broker::call::limits::counter_of;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::call::ToolCall;
use crate::domain::policy::{Limit, Rule, Scope, Window};
use crate::store::Store as _;
use crate::store::counters::SessionOf;
use crate::store::sql::SqlStore;
use crate::store::sqlite_file::SqliteFile;

/// What is used of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedOf {
    /// JSON Pointer of the limit.
    pub(crate) limit: String,
    /// How much is used; none where that is not known.
    pub(crate) used: Option<String>,
    /// The most that may be.
    pub(crate) max: String,
    /// In words.
    pub(crate) words: String,
}

/// What is used of each limit of a rule by this agent, where there is a database; of limits in each
/// session what is used without one. Nothing is made where there is none.
pub(crate) async fn used(
    config: &Config,
    agent: &str,
    call: &ToolCall,
    rule: &Rule,
) -> Vec<UsedOf> {
    let kept = |l: &&Limit| l.window != Window::Call;
    let limits: Vec<&Limit> = rule.limits.iter().filter(kept).collect();
    if limits.is_empty() {
        return Vec::new();
    }
    let amounts = match read(config, agent, call, &limits).await {
        Ok(amounts) => amounts,
        Err(why) => {
            let not_known = |limit: &&Limit| UsedOf {
                limit: limit.pointer.clone(),
                used: None,
                max: limit.max.clone(),
                words: format!("used: {}: not known: {why}", limit.pointer),
            };
            return limits.iter().map(not_known).collect();
        }
    };
    let told = |(limit, used): (&&Limit, String)| {
        let without = match limit.scope {
            Scope::Session => " without a session",
            Scope::Agent | Scope::Upstream | Scope::All => "",
        };
        let (pointer, max, window) = (&limit.pointer, &limit.max, limit.window);
        let words = format!("used: {pointer}: {used} of at most {max} {window}{without}");
        UsedOf { limit: pointer.clone(), used: Some(used), max: max.clone(), words }
    };
    limits.iter().zip(amounts).map(told).collect()
}

async fn read(
    config: &Config,
    agent: &str,
    call: &ToolCall,
    limits: &[&Limit],
) -> Result<Vec<String>, String> {
    let url = config.database.url.expose();
    if SqliteFile::of(url).is_some_and(|file| !file.path().exists()) {
        return Err("there is no database yet".to_owned());
    }
    let store = SqlStore::open_with(url, &(&config.database).into())
        .await
        .map_err(|error| format!("database.url: {error}"))?;
    let counter = |limit: &&Limit| counter_of(agent, call, limit, SessionOf::Token);
    let counters = limits.iter().map(counter).collect();
    let used = store.counters().used(counters, SystemClock.now()).await;
    store.close().await;
    let used = used.map_err(|error| error.to_string())?;
    Ok(used.iter().map(ToString::to_string).collect())
}
