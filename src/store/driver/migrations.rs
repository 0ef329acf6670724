//! The schema's migrations, built into the program.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Database, Pool};

use crate::store::StoreError;

/// Most tries to migrate SQLite while other processes migrate it, too. A try fails only because
/// another process was first with one migration, or with the table in which they are noted.
const MAX_TRIES: usize = MIGRATIONS.len() + 2;

/// Version, description, SQL for SQLite, SQL for PostgreSQL.
const MIGRATIONS: [(i64, &str, &str, &str); 22] = [
    (
        1,
        "init",
        include_str!("../../../migrations/sqlite/0001_init.sql"),
        include_str!("../../../migrations/postgres/0001_init.sql"),
    ),
    (
        2,
        "tasks",
        include_str!("../../../migrations/sqlite/0002_tasks.sql"),
        include_str!("../../../migrations/postgres/0002_tasks.sql"),
    ),
    (
        3,
        "governed",
        include_str!("../../../migrations/sqlite/0003_governed.sql"),
        include_str!("../../../migrations/postgres/0003_governed.sql"),
    ),
    (
        4,
        "hold_budgets",
        include_str!("../../../migrations/sqlite/0004_hold_budgets.sql"),
        include_str!("../../../migrations/postgres/0004_hold_budgets.sql"),
    ),
    (
        5,
        "lists",
        include_str!("../../../migrations/sqlite/0005_lists.sql"),
        include_str!("../../../migrations/postgres/0005_lists.sql"),
    ),
    (
        6,
        "people",
        include_str!("../../../migrations/sqlite/0006_people.sql"),
        include_str!("../../../migrations/postgres/0006_people.sql"),
    ),
    (
        7,
        "grants",
        include_str!("../../../migrations/sqlite/0007_grants.sql"),
        include_str!("../../../migrations/postgres/0007_grants.sql"),
    ),
    (
        8,
        "passkeys",
        include_str!("../../../migrations/sqlite/0008_passkeys.sql"),
        include_str!("../../../migrations/postgres/0008_passkeys.sql"),
    ),
    (
        9,
        "oidc",
        include_str!("../../../migrations/sqlite/0009_oidc.sql"),
        include_str!("../../../migrations/postgres/0009_oidc.sql"),
    ),
    (
        10,
        "indexes",
        include_str!("../../../migrations/sqlite/0010_indexes.sql"),
        include_str!("../../../migrations/postgres/0010_indexes.sql"),
    ),
    (
        11,
        "words",
        include_str!("../../../migrations/sqlite/0011_words.sql"),
        include_str!("../../../migrations/postgres/0011_words.sql"),
    ),
    (
        13,
        "entries",
        include_str!("../../../migrations/sqlite/0013_entries.sql"),
        include_str!("../../../migrations/postgres/0013_entries.sql"),
    ),
    (
        14,
        "incarnations",
        include_str!("../../../migrations/sqlite/0014_incarnations.sql"),
        include_str!("../../../migrations/postgres/0014_incarnations.sql"),
    ),
    (
        15,
        "marks",
        include_str!("../../../migrations/sqlite/0015_marks.sql"),
        include_str!("../../../migrations/postgres/0015_marks.sql"),
    ),
    (
        16,
        "channels_and_changes",
        include_str!("../../../migrations/sqlite/0016_channels_and_changes.sql"),
        include_str!("../../../migrations/postgres/0016_channels_and_changes.sql"),
    ),
    (
        17,
        "origin",
        include_str!("../../../migrations/sqlite/0017_origin.sql"),
        include_str!("../../../migrations/postgres/0017_origin.sql"),
    ),
    (
        18,
        "counts",
        include_str!("../../../migrations/sqlite/0018_counts.sql"),
        include_str!("../../../migrations/postgres/0018_counts.sql"),
    ),
    (
        19,
        "attempt_counts",
        include_str!("../../../migrations/sqlite/0019_attempt_counts.sql"),
        include_str!("../../../migrations/postgres/0019_attempt_counts.sql"),
    ),
    (
        20,
        "fewer_pages",
        include_str!("../../../migrations/sqlite/0020_fewer_pages.sql"),
        include_str!("../../../migrations/postgres/0020_fewer_pages.sql"),
    ),
    (
        21,
        "peers",
        include_str!("../../../migrations/sqlite/0021_peers.sql"),
        include_str!("../../../migrations/postgres/0021_peers.sql"),
    ),
    (
        22,
        "counters",
        include_str!("../../../migrations/sqlite/0022_counters.sql"),
        include_str!("../../../migrations/postgres/0022_counters.sql"),
    ),
    (
        23,
        "slots",
        include_str!("../../../migrations/sqlite/0023_slots.sql"),
        include_str!("../../../migrations/postgres/0023_slots.sql"),
    ),
];

/// Brings the schema up to date; safe to run by several processes at once.
///
/// # Errors
/// [`StoreError::Unavailable`], when a migration fails or the schema is newer than this program.
pub(super) async fn run<D>(pool: &Pool<D>, postgres: bool) -> Result<(), StoreError>
where
    D: Database,
    D::Connection: Migrate,
{
    let list = MIGRATIONS.into_iter().map(|(version, name, sqlite, pg)| {
        let sql = if postgres { pg } else { sqlite };
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(list.collect());
    let mut done = migrator.run(pool).await;
    // SQLite's migrator takes no lock. Each migration is one transaction that also notes it
    // as done, so whoever comes second fails whole, and finds it done at the next try.
    for _ in 1..MAX_TRIES {
        if done.is_ok() || postgres {
            break;
        }
        done = migrator.run(pool).await;
    }
    done.map_err(|error| match error {
        MigrateError::Execute(error) => StoreError::Unavailable(error),
        other => StoreError::Unavailable(sqlx::Error::Migrate(Box::new(other))),
    })
}
