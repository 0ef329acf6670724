//! What time it is for a program that starts: its database's.

use std::path::Path;
use std::time::Duration;

use placet::app::{App, AppError};
use placet::clock::{Clock as _, SystemClock};
use placet::config::{Config, Environment};
use placet::store::Store as _;

use crate::support::db::{self, Database};
use crate::support::fixtures::config_of;

fn config(db: &Database, dir: &Path) -> Config {
    let text =
        format!("[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = {:?}\n", db.url.as_str());
    config_of(&text, Some(&dir.join("placet.toml")), &Environment::new())
}

/// The program on a file in which a process that was killed renewed its lease so much later than now.
async fn started_after(ahead: Duration) -> (App, placet::domain::time::Timestamp) {
    let (dir, db) = db::sqlite().await;
    let now = SystemClock.now().plus(ahead);
    let until = now.plus(Duration::from_secs(15));
    db.store.nodes().renew("node-killed", now, until).await.unwrap();
    let app = App::build(config(&db, &dir.0)).await.unwrap();
    (app, now)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clock_was_set_back_time_goes_on_from_the_latest_that_the_file_tells_of() {
    let (app, killed_at) = started_after(Duration::from_hours(1)).await;

    let now = app.broker.now();

    assert!(now >= killed_at && killed_at.until(now) < Duration::from_mins(1), "{now}");
    assert!(app.broker.skew().length() > Duration::from_mins(59));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_far_future_does_not_take_the_clock_along_nor_keep_its_dead_alive() {
    let (app, killed_at) = started_after(Duration::from_hours(24 * 365)).await;

    assert!(app.broker.skew().length() < Duration::from_mins(1));
    assert!(app.broker.now() < killed_at);
    let soon = app.broker.now().plus(Duration::from_secs(16));
    assert!(!app.store().nodes().is_alive("node-killed", soon).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_a_machine_whose_clock_is_too_far_off_does_not_start_and_names_both_times() {
    let (dir, db) = db::for_broker().await;
    if !db.is_postgres {
        return;
    }
    let mut config = config(&db, &dir.0);
    config.database.max_clock_skew = Duration::ZERO;

    let refused = App::build(config).await.err().expect("it does not start");

    assert!(matches!(refused, AppError::Skew { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("database.max_clock_skew: this machine's clock says 20"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_the_time_is_the_databases() {
    let (_dir, db) = db::for_broker().await;

    let told = db.store.nodes().time().await.unwrap();

    assert_eq!(told.is_some(), db.is_postgres);
    let now = SystemClock.now();
    assert!(told.is_none_or(|told| now.until(told).max(told.until(now)) < Duration::from_mins(1)));
}
