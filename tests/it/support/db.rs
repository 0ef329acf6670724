//! A fresh database per test, gone afterwards: SQLite always, PostgreSQL where
//! `PLACET_TEST_POSTGRES` names a server on which databases may be created.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt as _;
use placet::store::sql::SqlStore;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that is removed with its value.
#[derive(Debug)]
pub struct Dir(pub PathBuf);

impl Dir {
    /// A new, empty one. Ids of processes are used again: what one left that was killed, perhaps with
    /// another schema, goes first.
    pub fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::at(std::env::temp_dir().join(format!("placet-it-{}-{n}", std::process::id())))
    }

    fn at(path: PathBuf) -> Self {
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_directory_of_a_test_has_nothing_of_a_killed_one_before_it() {
    let path = std::env::temp_dir().join(format!("placet-it-left-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("placet.db"), "of another schema").unwrap();

    let dir = Dir::at(path);

    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 0);
}

/// A database with the schema, and the store on it.
pub struct Database {
    pub url: String,
    pub store: SqlStore,
    pub is_postgres: bool,
}

impl Database {
    /// A second store on the same database, as a second process would have.
    pub async fn again(&self) -> SqlStore {
        SqlStore::open(&self.url).await.unwrap()
    }

    /// Runs statements past the store.
    pub async fn raw(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres {
            let mut link = PgConnection::connect(&self.url).await.unwrap();
            link.execute(sql).await.unwrap();
        } else {
            let mut link = SqliteConnection::connect(&self.url).await.unwrap();
            link.execute(sql).await.unwrap();
        }
    }
}

/// Somebody who lets nobody at the store; dropping it lets them go on.
pub enum Locked {
    /// Writers wait; SQLite's readers can't be kept waiting.
    Sqlite { _link: SqliteConnection },
    /// Everybody waits who asks for the table.
    Postgres { _link: PgConnection },
}

impl Database {
    /// Locks the table (SQLite: all writing).
    pub async fn locked(&self, table: &str) -> Locked {
        if self.is_postgres {
            let mut link = PgConnection::connect(&self.url).await.unwrap();
            let lock = format!("begin; lock table {table} in access exclusive mode");
            link.execute(AssertSqlSafe(lock)).await.unwrap();
            return Locked::Postgres { _link: link };
        }
        let mut link = SqliteConnection::connect(&self.url).await.unwrap();
        link.execute("begin immediate").await.unwrap();
        Locked::Sqlite { _link: link }
    }

    /// How many rows the table has.
    pub async fn rows(&self, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("select count(*) from {table}"));
        if self.is_postgres {
            let mut link = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut link).await.unwrap()
        } else {
            let mut link = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut link).await.unwrap()
        }
    }
}

/// A SQLite database in a directory of its own.
pub async fn sqlite() -> (Dir, Database) {
    let dir = Dir::new();
    let url = format!("sqlite:{}", dir.0.join("placet.db").display());
    let store = SqlStore::open(&url).await.unwrap();
    (dir, Database { url, store, is_postgres: false })
}

/// The database of the broker's tests: SQLite, or a fresh one on the PostgreSQL server where
/// `PLACET_TEST_BROKER=postgres` asks for it. That server is the test run's own and is thrown
/// away with it, so nothing is dropped here.
pub async fn for_broker() -> (Dir, Database) {
    let wanted = std::env::var("PLACET_TEST_BROKER").is_ok_and(|v| v == "postgres");
    let server = std::env::var("PLACET_TEST_POSTGRES").ok().filter(|_| wanted);
    let Some(server) = server else { return sqlite().await };
    let (url, _) = postgres(&server).await;
    let store = SqlStore::open(&url).await.unwrap();
    (Dir::new(), Database { url, store, is_postgres: true })
}

/// Makes an empty database; its URL and name.
async fn postgres(server: &str) -> (String, String) {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("placet_it_{}_{n}", std::process::id());
    let mut admin = PgConnection::connect(server).await.unwrap();
    // What a killed process of the same id left.
    let gone = format!("drop database if exists {name} with (force)");
    admin.execute(AssertSqlSafe(gone)).await.unwrap();
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(&name);
    (url.to_string(), name)
}

/// Runs the test on every database there is.
pub async fn on_each(test: impl AsyncFn(&Database)) {
    let (_dir, db) = sqlite().await;
    test(&db).await;
    db.store.close().await;

    let Ok(server) = std::env::var("PLACET_TEST_POSTGRES") else { return };
    let (url, name) = postgres(&server).await;
    let store = SqlStore::open(&url).await.unwrap();
    let db = Database { url, store, is_postgres: true };
    let outcome = AssertUnwindSafe(test(&db)).catch_unwind().await;
    db.store.close().await;
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let drop = format!("drop database if exists {name} with (force)");
    admin.execute(AssertSqlSafe(drop)).await.unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
