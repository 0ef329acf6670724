//! The file of a SQLite database, and what stands beside it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use placet::domain::audit::{AuditEvent, Kind};
use placet::store::Store as _;
use placet::store::sql::SqlStore;
use placet::store::sqlite_file::{CheckpointError, CopyError, LockError, SqliteFile};
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::support::approvals::{approval, at, submission};
use crate::support::db::{Database, Dir, on_each, sqlite};

fn file_of(dir: &Dir) -> SqliteFile {
    SqliteFile::at(&dir.0.join("placet.db"))
}

/// Adds a sealed record.
async fn record(store: &SqlStore, who: &str) {
    let event = AuditEvent::new(Kind::SignedIn, who, at(1));
    store.audit().append(vec![event]).await.unwrap();
    store.audit().seal(10).await.unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_file_has_one_broker_whatever_leads_to_it_and_none_when_that_is_gone() {
    let (dir, _db) = sqlite().await;
    let link = dir.0.join("link.db");
    std::os::unix::fs::symlink(dir.0.join("placet.db"), &link).unwrap();
    let first = file_of(&dir).lock(at(5)).unwrap();

    let refused = SqliteFile::at(&link).lock(at(9)).unwrap_err();

    let LockError::Taken { holder: Some(holder), .. } = &refused else { panic!("{refused}") };
    let pid = holder.pid;
    assert_eq!((pid, holder.address), (std::process::id(), None));
    let said = refused.to_string();
    assert!(said.contains(&format!("process {pid}, since {}", at(5))), "{said}");
    assert!(said.contains("placet.db is in use") && said.contains("PostgreSQL"), "{said}");
    assert_eq!(mode(&dir.0.join("placet.db.lock")), 0o600);
    first.tell("127.0.0.1:8420".parse().unwrap()).unwrap();
    let refused = SqliteFile::at(&link).lock(at(9)).unwrap_err();
    let LockError::Taken { holder: Some(holder), .. } = &refused else { panic!("{refused}") };
    assert_eq!(holder.address, Some("127.0.0.1:8420".parse().unwrap()));
    drop(first);
    file_of(&dir).lock(at(10)).unwrap();
}

#[tokio::test]
async fn a_lock_is_not_taken_through_a_link_and_what_that_leads_to_stays_as_it_was() {
    let (dir, _db) = sqlite().await;
    let (lock, other) = (dir.0.join("placet.db.lock"), dir.0.join("other"));
    std::fs::write(&other, "1 not ours").unwrap();
    for target in [other.clone(), dir.0.join("not there")] {
        std::os::unix::fs::symlink(&target, &lock).unwrap();

        let refused = file_of(&dir).lock(at(5)).unwrap_err();

        assert!(matches!(refused, LockError::Link(_)), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("placet.db.lock: that is a symbolic link"), "{said}");
        std::fs::remove_file(&lock).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "1 not ours");
    assert!(!dir.0.join("not there").exists());

    // A link that somebody puts in the place of a lock, even one that leads to it.
    let held = file_of(&dir).lock(at(6)).unwrap();
    std::fs::rename(&lock, dir.0.join("moved")).unwrap();
    std::os::unix::fs::symlink(dir.0.join("moved"), &lock).unwrap();
    assert!(held.is_lost(&file_of(&dir)));
}

#[tokio::test]
async fn a_lock_whose_file_was_removed_keeps_nobody_out_of_the_new_one() {
    let (dir, _db) = sqlite().await;
    let lock = dir.0.join("placet.db.lock");
    let first = file_of(&dir).lock(at(5)).unwrap();
    assert!(!first.is_lost(&file_of(&dir)));
    std::fs::remove_file(&lock).unwrap();

    assert!(first.is_lost(&file_of(&dir)));
    let _second = file_of(&dir).lock(at(6)).unwrap();

    assert!(file_of(&dir).lock(at(7)).is_err());
}

#[tokio::test]
async fn a_database_older_than_its_checkpoint_is_found_and_one_that_went_on_is_not() {
    let (dir, db) = sqlite().await;
    let file = file_of(&dir);
    record(&db.store, "ana").await;
    file.empty_log().await.unwrap();
    let old = dir.0.join("old.db");
    std::fs::copy(file.path(), &old).unwrap();
    record(&db.store, "ben").await;
    assert_eq!(file.note(None, at(7)).await.unwrap(), Some(2));
    record(&db.store, "cleo").await;
    file.compare().await.unwrap();
    assert_eq!(mode(&dir.0.join("placet.db.checkpoint")), 0o600);
    db.store.close().await;

    std::fs::copy(&old, file.path()).unwrap();
    let behind = file.compare().await.unwrap_err();

    let said = behind.to_string();
    assert!(matches!(behind, CheckpointError::Behind(_)), "{said}");
    for word in ["placet.db is older", "placet.db.checkpoint", "record 2", "ends at record 1"] {
        assert!(said.contains(word), "{said}");
    }
    // Another history of the same length.
    let store = SqlStore::open(&db.url).await.unwrap();
    record(&store, "somebody else").await;
    store.close().await;
    assert!(matches!(file.compare().await, Err(CheckpointError::Behind(_))));
    std::fs::remove_file(file.path()).unwrap();
    assert!(matches!(file.compare().await, Err(CheckpointError::Gone { .. })));
}

#[tokio::test]
async fn a_checkpoint_is_written_only_where_the_audit_has_grown() {
    let (dir, db) = sqlite().await;
    let file = file_of(&dir);
    assert_eq!(file.note(None, at(1)).await.unwrap(), None);
    record(&db.store, "ana").await;
    let noted = file.note(None, at(2)).await.unwrap();
    let checkpoint = dir.0.join("placet.db.checkpoint");
    std::fs::remove_file(&checkpoint).unwrap();

    assert_eq!(file.note(noted, at(3)).await.unwrap(), noted);

    assert!(!checkpoint.exists());
}

#[tokio::test]
async fn the_file_alone_is_a_database_once_its_log_is_emptied() {
    let (dir, db) = sqlite().await;
    record(&db.store, "ana").await;
    file_of(&dir).empty_log().await.unwrap();
    let copy = dir.0.join("plain.db");
    std::fs::copy(dir.0.join("placet.db"), &copy).unwrap();

    let plain = SqlStore::open(&format!("sqlite:{}", copy.display())).await.unwrap();

    assert_eq!(plain.audit().list(0, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_copy_is_private_whole_marked_and_never_over_a_file() {
    let (dir, db) = sqlite().await;
    record(&db.store, "ana").await;
    let to: PathBuf = dir.0.join("copy.db");

    let copied = file_of(&dir).copy_to(&to, Some(at(9)), &|_| {}).await.unwrap();

    assert_eq!(copied.head.unwrap().0, 1);
    assert_eq!(mode(&to), 0o600);
    let again = file_of(&dir).copy_to(&to, None, &|_| {}).await.unwrap_err();
    assert!(matches!(&again, CopyError::Io { .. }), "{again}");
    let store = SqlStore::open(&format!("sqlite:{}", to.display())).await.unwrap();
    let found = store.copies().put_back().await.unwrap().unwrap();
    assert_eq!((found.copied_at, found.unfinished), (Some(at(9)), false));
    assert_eq!(db.store.copies().put_back().await.unwrap(), None, "the original is none");
    let left = std::fs::read_dir(&dir.0).unwrap().map(|e| e.unwrap().file_name());
    assert!(!left.into_iter().any(|n| n.to_string_lossy().contains("unfinished")));
}

#[tokio::test]
async fn a_damaged_copy_is_refused_and_the_place_is_named() {
    let (dir, db) = sqlite().await;
    db.store.approvals().submit(submission(approval(1, "{}")), at(1)).await.unwrap();
    record(&db.store, "ana").await;
    let damages = [
        ("update approvals set params = cast(x'ff00' as text)", "approvals.params of apr_"),
        ("update approvals set params = '{}', terms = x'00'", "approvals.terms of apr_"),
    ];
    let mut link = SqliteConnection::connect(&db.url).await.unwrap();
    for (damage, place) in damages {
        link.execute(damage).await.unwrap();
        let to = dir.0.join("copy.db");

        let refused = file_of(&dir).copy_to(&to, None, &|_| {}).await.unwrap_err();

        let said = refused.to_string();
        assert!(matches!(refused, CopyError::Damaged { .. }) && said.contains(place), "{said}");
        assert!(!to.exists());
    }
}

#[tokio::test]
async fn what_is_no_database_of_placet_is_not_copied_and_leaves_nothing() {
    let dir = Dir::new();
    for (name, content) in [
        ("text", "not a database, but longer than its header ".repeat(9)),
        ("empty", String::new()),
    ] {
        let from = dir.0.join(name);
        std::fs::write(&from, content).unwrap();
        let to = dir.0.join(format!("copy of {name}"));

        let error = SqliteFile::at(&from).copy_to(&to, None, &|_| {}).await.unwrap_err();

        assert!(matches!(error, CopyError::Foreign { .. }), "{name}: {error}");
        assert!(!to.exists());
    }
    let gone = SqliteFile::at(&dir.0.join("gone")).copy_to(&dir.0.join("x"), None, &|_| {}).await;
    assert!(matches!(gone, Err(CopyError::Missing(_))));
}

#[tokio::test]
async fn what_a_dump_does_not_carry_shows_that_the_database_was_put_back_until_it_is_adopted() {
    on_each(async |db: &Database| {
        assert_eq!(db.store.copies().put_back().await.unwrap(), None, "a new one");
        assert_eq!(db.store.copies().put_back().await.unwrap(), None, "and again");
        // A row written anew, as pg_restore writes it.
        db.raw("update origin set value = value").await;

        let found = db.store.copies().put_back().await.unwrap();

        assert_eq!(found.is_some(), db.is_postgres);
        let event = AuditEvent::new(Kind::DatabaseRestored, "placet", at(1));
        db.store.copies().adopt(event).await.unwrap();
        assert_eq!(db.store.copies().put_back().await.unwrap(), None);
    })
    .await;
}
