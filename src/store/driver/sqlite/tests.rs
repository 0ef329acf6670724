//! A full disk: SQLite's own error, given by SQLite itself, to the statement or to the commit.

use std::time::Duration;

use super::super::tx::Tx;
use super::super::value::args;
use super::{File, Line};
use crate::store::StoreError;
use crate::store::patience::Patience;

/// A file in a directory of its own.
async fn file() -> (tempdir::Dir, File) {
    let dir = tempdir::Dir::new();
    let file = File::open(dir.path(), &Patience::default()).await.unwrap();
    file.migrate().await.unwrap();
    // However slow the machine is, a group lasts as long as verbs wait.
    file.writer.lasting(Duration::MAX);
    (dir, file)
}

async fn begin(file: &File) -> Tx {
    let answer = Patience::default().answer();
    Tx::sqlite(file.begin(Line::Anew).await.unwrap(), answer)
}

/// No page more than there are now may be written by the writer's connection.
async fn fill(file: &File) {
    let mut turn = file.begin(Line::Urgent).await.unwrap();
    let pages = turn.outside("pragma page_count").await[0].rows[0].int("page_count").unwrap();
    turn.outside(&format!("pragma max_page_count = {pages}")).await;
}

async fn store(tx: &mut Tx, name: &str, bytes: usize) -> crate::store::Result<u64> {
    let sql = "insert into secrets (name, value) values ($1, $2)";
    tx.execute(sql, args![name, "x".repeat(bytes)]).await
}

#[tokio::test]
async fn a_connection_is_used_again_without_a_word_and_few_are_open() {
    let (_dir, file) = file().await;
    let answer = Patience::default().answer();
    let mut one = Tx::sqlite_reader(file.read().await.unwrap(), answer);
    one.execute("create temp table mine (n integer)", args![]).await.unwrap();
    drop(one);

    for _ in 0..3 {
        let mut next = Tx::sqlite_reader(file.read().await.unwrap(), answer);
        assert_eq!(next.count("select count(*) as n from mine", args![]).await.unwrap(), 0);
    }
    let mut all = Vec::new();
    for _ in 0..super::READERS {
        all.push(file.read().await.unwrap());
    }

    let more = tokio::time::timeout(Duration::from_millis(1), file.read()).await;
    assert!(more.is_err(), "all are in use");
    drop(all.pop());
    file.read().await.unwrap().keep();
    drop(all);
    file.close().await;
    assert!(file.read().await.is_err());
}

#[tokio::test]
async fn a_full_disk_is_over_when_there_is_space_again() {
    let (_dir, file) = file().await;
    fill(&file).await;
    let mut tx = begin(&file).await;

    let full = store(&mut tx, "a", 1_000_000).await.unwrap_err();

    assert!(full.to_string().contains("full"), "{full}");
    assert!(matches!(full, StoreError::Unavailable(_)));
    assert!(store(&mut tx, "b", 1).await.is_err(), "it takes no more statements");
    assert!(tx.commit().await.is_err());
    let mut tx = begin(&file).await;
    store(&mut tx, "a", 1_000_000).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_transaction_dropped_half_way_leaves_nothing_and_blocks_nobody() {
    let (_dir, file) = file().await;
    let mut tx = begin(&file).await;
    store(&mut tx, "a", 1).await.unwrap();
    drop(tx);

    let mut tx = begin(&file).await;
    let kept = tx.count("select count(*) as n from secrets", args![]).await.unwrap();

    assert_eq!(kept, 0);
    tx.rollback().await.unwrap();
    assert!(begin(&file).await.commit().await.is_ok());
}

mod groups;
mod tempdir {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    static NEXT: AtomicU32 = AtomicU32::new(0);

    pub(super) struct Dir(PathBuf);

    impl Dir {
        pub(super) fn new() -> Self {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("placet-db-{}-{n}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path.join("placet.db"))
        }

        /// Where its database is.
        pub(super) fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
        }
    }
}
