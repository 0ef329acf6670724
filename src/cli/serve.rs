//! `placet serve`: the broker until SIGINT or SIGTERM.

use std::io::IsTerminal as _;

use crate::app::signals::{reload_on_sighup, signals};
use crate::app::{self, App, AppError};
use crate::config::Config;
use crate::domain::approval::Assurance;
use crate::domain::time::in_words;

use super::{Failure, Global, complain, load};

/// Runs the broker.
///
/// # Errors
/// The configuration has errors (exit code 2); the broker can't be built, or no sign-in link can be
/// made or written (exit code 1).
pub(crate) async fn run(global: &Global) -> Result<(), Failure> {
    let config = load(global)?;
    let app = App::build(config).await.map_err(|error| failure(&error))?;
    offer_sign_in(&app).await?;
    let stop = app.stop();
    tokio::spawn(signals(stop));
    tokio::spawn(reload_on_sighup(app.broker.clone(), app.readiness.clone()));
    tracing::info!(
        "listening on http://{}; people go to {}",
        app.address(),
        app.broker.config().link("/")
    );
    app.run().await;
    Ok(())
}

/// A failure to build, as the command line tells it.
pub(crate) fn failure(error: &AppError) -> Failure {
    Failure::failed(error.to_string())
}

/// Without configured reviewers the owner signs in by a one-time link: printed to a terminal,
/// else written to a file that only its user can read. The owner has no other way, so that it proves
/// as much as a token.
async fn offer_sign_in(app: &App) -> Result<(), Failure> {
    let config = app.broker.config();
    let Some(owner) = config.reviewers.first().filter(|_| config.implicit_owner) else {
        return Ok(());
    };
    let link = app::sign_in_link(config, app.store(), &owner.name, Assurance::Session)
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    if std::io::stderr().is_terminal() {
        complain(&format!(
            "Sign in as {} with this link, once, within {}:\n  {link}",
            owner.name,
            in_words(config.people.link_life)
        ));
    } else {
        let path = write_link(config, &link).map_err(|error| {
            Failure::failed(format!("the sign-in link can't be written: {error}"))
        })?;
        tracing::info!("the one-time sign-in link of {} is in {}", owner.name, path.display());
    }
    Ok(())
}

fn write_link(config: &Config, link: &str) -> std::io::Result<std::path::PathBuf> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = match config.database.url.expose().strip_prefix("sqlite:") {
        Some(path) => std::path::Path::new(path.trim_start_matches("//"))
            .parent()
            .map(std::path::Path::to_owned)
            .unwrap_or_default(),
        None => std::path::PathBuf::new(),
    };
    let path = folder.join("placet-sign-in-link.txt");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made anew, so that the mode holds and no link is followed.
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{link}")?;
    Ok(path)
}
