//! The time when the program starts.

use std::time::Duration;

use super::AppError;
use crate::broker::lease::{LEASE, Skew};
use crate::clock::{Clock as _, SharedClock, SystemClock, uptime};
use crate::config::Config;
use crate::store::Store as _;
use crate::store::sql::SqlStore;

/// A file that knows of a later time than this ahead of the machine's clock was written under a wrong
/// one, and is not believed.
const SET_BACK: Duration = Duration::from_hours(24);

/// The clock of a process on this store: PostgreSQL's own; for SQLite the machine's as it is now, but no
/// earlier than the latest time the file tells of.
///
/// # Errors
/// [`AppError::Skew`], where the machine's clock is too far from PostgreSQL's; [`AppError::Store`],
/// when the store can't be read.
pub(super) async fn of(store: &SqlStore, config: &Config) -> Result<SharedClock, AppError> {
    let limit = config.database.max_clock_skew;
    let asked = uptime();
    if let Some(told) = store.nodes().time().await? {
        let now = told.plus(uptime().saturating_sub(asked) / 2);
        let skew = Skew { machine: SystemClock.now(), now };
        if skew.length() > limit {
            return Err(AppError::Skew { machine: skew.machine, database: now, limit });
        }
        return Ok(SharedClock::new(now));
    }
    let machine = SystemClock.now();
    let (lease, changed) = store.nodes().latest().await?;
    let latest = lease.map(|until| until.minus(LEASE)).max(changed);
    let Some(now) = latest.filter(|at| *at > machine) else {
        return Ok(SharedClock::new(machine));
    };
    if machine.until(now) > SET_BACK {
        tracing::error!(
            "the database tells of {now}, this machine's clock says {machine}: the clock is believed; \
             if it is wrong, stop Placet and set it"
        );
        return Ok(SharedClock::new(machine));
    }
    tracing::warn!(
        "this machine's clock says {machine}, but the database knows of {now}: time goes on from there"
    );
    Ok(SharedClock::new(now))
}
