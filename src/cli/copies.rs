//! `placet backup` and `placet restore`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::app::copies::{self, CopiesError, Report, Restore, Step};

use super::{Failure, Global, complain, load, say};

pub(super) const BACKUP_HELP: &str = "The copy is of one instant, has mode 0600, and no broker \
    starts on it before `placet restore`. On PostgreSQL use pg_dump.\n\nExamples:\n  placet backup \
    /var/backups/placet-$(date +%F).db\n  placet backup copy.db --json";

pub(super) const RESTORE_HELP: &str = "Stop the broker first. What was pending, approved or running \
    in the copy is `indeterminate` afterwards: it may have run since. Grants, sessions and personal \
    tokens end.\n\nExamples:\n  placet restore /var/backups/placet-2026-11-22.db\n  placet restore \
    copy.db --force                 keep the database that is there aside\n  placet restore copy.db \
    --ask-again             what nobody had decided is asked anew\n  placet restore copy.db \
    --nothing-ran-since     moved here, with the broker stopped before\n  placet restore            \
                              put back by other means: pg_restore, cp, a snapshot";

/// `backup`
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `restore`
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The copy; without it, the database in place is one that was just put back
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Keep a database that is there aside; mark one that does not look put back
    #[arg(long)]
    pub force: bool,
    /// Cancel what nobody had decided, so that the identical call asks anew
    #[arg(long)]
    pub ask_again: bool,
    /// No broker ran since the copy was made: mark and end nothing
    #[arg(long, conflicts_with = "ask_again")]
    pub nothing_ran_since: bool,
}

/// A failure of these commands: what names the wrong tool is misuse.
fn failure(error: &CopiesError) -> Failure {
    match error {
        CopiesError::UsePgDump(_) | CopiesError::UsePgRestore(_) => {
            Failure::misused(error.to_string())
        }
        _ => Failure::failed(error.to_string()),
    }
}

fn mebibytes(bytes: u64) -> String {
    // Tenths, rounded up: no copy has none.
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// Copies the database.
///
/// # Errors
/// The configuration has errors or names PostgreSQL (exit code 2); the copy can't be made (exit code
/// 1).
pub(crate) async fn backup(global: &Global, args: &BackupArgs) -> Result<(), Failure> {
    let config = load(global)?;
    let quiet = global.json;
    let told = |bytes| {
        if !quiet {
            complain(&format!("copied {}", mebibytes(bytes)));
        }
    };
    let copied = copies::backup(&config, &args.file, &told).await.map_err(|e| failure(&e))?;
    let (seq, hash) = copied.head.map_or((0, None), |(seq, hash)| (seq, Some(hash)));
    say(&if global.json {
        json!({
            "ok": true, "file": args.file, "bytes": copied.bytes, "open": copied.open,
            "audit": { "seq": seq, "hash": hash },
        })
        .to_string()
    } else {
        format!(
            "ok: {}: {}, {} open approvals, {seq} audit records, head {}",
            args.file.display(),
            mebibytes(copied.bytes),
            copied.open,
            hash.as_deref().unwrap_or("-")
        )
    });
    Ok(())
}

/// Puts a copy back.
///
/// # Errors
/// The configuration has errors, or a file is named for PostgreSQL (exit code 2); a broker runs, a
/// database is in the way, or something fails (exit code 1).
pub(crate) async fn restore(global: &Global, args: RestoreArgs) -> Result<(), Failure> {
    let config = load(global)?;
    let quiet = global.json;
    let told = |step: Step| match step {
        _ if quiet => {}
        Step::Copied(bytes) => complain(&format!("copied {}", mebibytes(bytes))),
        Step::Marked(n) => complain(&format!("marked {n} approvals")),
        Step::Aside(path) => complain(&format!("the database that was there: {}", path.display())),
    };
    let how = Restore {
        from: args.file,
        force: args.force,
        ask_again: args.ask_again,
        nothing_ran_since: args.nothing_ran_since,
    };
    let report = copies::restore(config, how, &told).await.map_err(|e| failure(&e))?;
    say(&if global.json { as_json(&report) } else { in_words(&report) });
    Ok(())
}

fn as_json(report: &Report) -> String {
    let marked = report.restored.map(|r| {
        json!({
            "indeterminate": r.indeterminate, "asked_anew": r.asked_anew, "grants": r.grants,
            "sessions": r.ended.sessions, "tokens": r.ended.tokens,
            "sign_in_links": r.ended.sign_ins, "review_links": r.ended.review_links,
            "messages": r.let_go.messages, "client_sessions": r.let_go.client_sessions,
        })
    });
    let copied_at = report.copied_at.map(|at| at.to_string());
    json!({ "ok": true, "copied_at": copied_at, "aside": report.aside, "marked": marked })
        .to_string()
}

fn in_words(report: &Report) -> String {
    let of = report.copied_at.map(|at| format!(" (copy of {at})")).unwrap_or_default();
    let Some(r) = report.restored else {
        return format!("ok: the database is in place{of}; nothing was marked");
    };
    format!(
        "ok: the database is in place{of}\n\
         indeterminate, to be settled by an admin: {}\n\
         cancelled, asked anew by the identical call: {}\n\
         grants ended: {}\n\
         sessions, personal tokens and links of people ended: {}\n\
         messages that may have been sent since, not sent again: {}\n\
         not known: what was asked, decided, revoked or removed since, limits used since; see \
         passkeys and absences at /settings",
        r.indeterminate,
        r.asked_anew,
        r.grants,
        r.ended.sessions + r.ended.tokens + r.ended.sign_ins + r.ended.review_links,
        r.let_go.messages
    )
}
