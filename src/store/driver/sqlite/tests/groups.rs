//! Verbs that share a commit.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::super::super::ran::Step;
use super::super::super::tx::Tx;
use super::super::super::value::args;
use super::super::{File, Line};
use super::{begin, file, fill, store, tempdir};
use crate::store::patience::Patience;
use crate::store::{Result, StoreError};

/// Names of what is stored, read by a connection of its own.
async fn names(file: &File) -> Vec<String> {
    let link = file.read().await.unwrap();
    let mut tx = Tx::sqlite_reader(link, Patience::default().answer());
    let rows = tx.rows("select name from secrets order by name", args![]).await.unwrap();
    rows.iter().map(|row| row.text("name").unwrap()).collect()
}

/// A verb that waits for its turn from now on.
async fn waits(file: &File, line: Line) -> JoinHandle<Tx> {
    let (at, waiting) = (file.clone(), file.writer.waiting());
    let tx = tokio::spawn(async move {
        Tx::sqlite(at.begin(line).await.unwrap(), Patience::default().answer())
    });
    while file.writer.waiting() == waiting {
        tokio::task::yield_now().await;
    }
    tx
}

/// Stores one name, waits until somebody else has the turn, and answers.
async fn commits(mut tx: Tx, name: &str) -> JoinHandle<Result<()>> {
    store(&mut tx, name, 1).await.unwrap();
    tokio::spawn(tx.commit())
}

#[tokio::test]
async fn nobody_is_answered_before_the_commit_of_the_group() {
    let (_dir, file) = file().await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let mut second = second.await.unwrap();

    assert_eq!(second.count("select count(*) as n from secrets", args![]).await.unwrap(), 1);
    assert!(names(&file).await.is_empty(), "readers see only what is committed");
    assert!(!first.is_finished());
    store(&mut second, "b", 1).await.unwrap();
    second.commit().await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(names(&file).await, ["a", "b"]);
    assert_eq!(file.writer.commits(), 1);
}

#[tokio::test]
async fn a_verb_that_fails_leaves_its_neighbours_stored() {
    let (_dir, file) = file().await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;
    let third = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let mut second = second.await.unwrap();
    store(&mut second, "b", 1).await.unwrap();
    let failed = tokio::spawn(async move { store(&mut second, "a", 1).await.unwrap_err() });
    let third = commits(third.await.unwrap(), "c").await;

    assert!(failed.await.unwrap().is_duplicate());
    first.await.unwrap().unwrap();
    third.await.unwrap().unwrap();
    assert_eq!(names(&file).await, ["a", "c"]);
    assert_eq!(file.writer.commits(), 1);
}

#[tokio::test]
async fn a_verb_that_rolls_back_answers_when_what_it_read_is_stored() {
    let (_dir, file) = file().await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;
    let third = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let mut second = second.await.unwrap();
    store(&mut second, "b", 1).await.unwrap();
    let second = tokio::spawn(second.rollback());
    let third = third.await.unwrap();
    assert!(!second.is_finished());
    third.commit().await.unwrap();

    second.await.unwrap().unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(names(&file).await, ["a"]);
}

#[tokio::test]
async fn a_verb_dropped_half_way_leaves_nothing_and_its_neighbours_are_stored() {
    let (_dir, file) = file().await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;
    let third = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let mut second = second.await.unwrap();
    store(&mut second, "b", 1).await.unwrap();
    drop(second);
    let third = commits(third.await.unwrap(), "c").await;

    first.await.unwrap().unwrap();
    third.await.unwrap().unwrap();
    assert_eq!(names(&file).await, ["a", "c"]);
}

#[tokio::test]
async fn the_last_verb_of_a_group_that_is_dropped_does_not_keep_the_others_from_being_stored() {
    let (_dir, file) = file().await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let mut second = second.await.unwrap();
    store(&mut second, "b", 1).await.unwrap();
    drop(second);

    first.await.unwrap().unwrap();
    assert_eq!(names(&file).await, ["a"]);
}

#[tokio::test]
async fn a_verb_dropped_within_a_statement_takes_its_group_along_and_all_of_it_surely_is_not_stored()
 {
    let (_dir, file) = file().await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let mut second = second.await.unwrap();
    {
        let long = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) \
                    insert into secrets (name, value) select 'n' || i, 'x' from n";
        let statement = second.execute(long, args![]);
        let sent = tokio::time::timeout(Duration::ZERO, statement).await;
        assert!(sent.is_err(), "it is cut off half way");
    }
    drop(second);

    let error = first.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && error.is_passing(), "{error}");
    let mut third = begin(&file).await;
    store(&mut third, "c", 1).await.unwrap();
    third.commit().await.unwrap();
    assert_eq!(names(&file).await, ["c"]);
}

#[tokio::test]
async fn a_full_disk_in_the_middle_takes_all_of_the_group_along_and_the_next_verb_a_new_connection()
{
    let (_dir, file) = file().await;
    fill(&file).await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;
    let third = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let full = store(&mut second.await.unwrap(), "b", 1_000_000).await.unwrap_err();
    let third = commits(third.await.unwrap(), "c").await;

    assert!(full.to_string().contains("full") && full.was_refused(), "{full}");
    let error = first.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && error.is_passing(), "{error}");
    third.await.unwrap().unwrap();
    assert_eq!(names(&file).await, ["c"]);
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all_of_its_group() {
    let (_dir, file) = file().await;
    // What a deferred key refers to is looked for by the commit.
    let mut tx = begin(&file).await;
    tx.execute("create table parents (id integer primary key)", args![]).await.unwrap();
    let child = "create table children \
                 (parent integer references parents (id) deferrable initially deferred)";
    tx.execute(child, args![]).await.unwrap();
    tx.commit().await.unwrap();
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;

    let first = commits(first, "a").await;
    let mut second = second.await.unwrap();
    second.execute("insert into children values (7)", args![]).await.unwrap();
    let own = second.commit().await.unwrap_err();

    let others = first.await.unwrap().unwrap_err();
    for error in [own, others] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
        assert!(error.was_refused() && !error.is_passing());
    }
    assert!(names(&file).await.is_empty());
    commits(begin(&file).await, "c").await.await.unwrap().unwrap();
    assert_eq!(names(&file).await, ["c"]);
}

#[tokio::test]
async fn a_group_that_lasted_long_enough_is_committed_though_others_wait() {
    let (_dir, file) = file().await;
    file.writer.lasting(Duration::ZERO);
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;

    commits(first, "a").await.await.unwrap().unwrap();

    assert_eq!(names(&file).await, ["a"]);
    second.await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn what_is_urgent_passes_a_flood() {
    let (_dir, file) = file().await;
    let first = begin(&file).await;
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(waits(&file, Line::Anew).await);
    }
    let urgent = waits(&file, Line::Urgent).await;

    drop(first);

    let tx = urgent.await.unwrap();
    assert!(flood.iter().all(|other| !other.is_finished()));
    tx.commit().await.unwrap();
    for other in flood {
        other.await.unwrap().commit().await.unwrap();
    }
}

#[tokio::test]
async fn several_statements_are_one_trip_and_end_with_one_that_had_to_touch_a_row() {
    let (_dir, file) = file().await;
    let insert = |name: &str| {
        Step::new("insert into secrets (name, value) values ($1, $2)", args![name, "x"])
    };
    let update = |name: &str| {
        Step::new("update secrets set value = $2 where name = $1", args![name, "y"]).must_touch()
    };
    let read = || Step::new("select value from secrets where name = $1", args!["b"]);
    let mut tx = begin(&file).await;

    let ran = tx.all(vec![insert("a"), insert("b"), update("b"), read()]).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(ran.iter().take(3).map(|ran| ran.touched).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(ran[3].rows[0].text("value").unwrap(), "y");
    assert_eq!(file.writer.commits(), 1);
    let mut tx = begin(&file).await;
    let ran = tx.all(vec![insert("c"), update("none"), insert("d")]).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(ran.len(), 2);
    assert_eq!(ran[1].touched, 0);
    assert_eq!(names(&file).await, ["a", "b"]);
}

#[tokio::test]
async fn a_closed_file_has_committed_what_was_begun_and_takes_nothing_more() {
    let (dir, file) = file().await;
    let first = begin(&file).await;
    let second = waits(&file, Line::Anew).await;
    let first = commits(first, "a").await;
    let closing = tokio::spawn({
        let file = file.clone();
        async move { file.close().await }
    });
    second.await.unwrap().commit().await.unwrap();

    closing.await.unwrap();

    first.await.unwrap().unwrap();
    assert!(file.begin(Line::Urgent).await.is_err());
    let again = File::open(dir.path(), &Patience::default()).await.unwrap();
    assert_eq!(names(&again).await, ["a"]);
}

#[test]
fn a_runtime_that_ends_with_a_group_half_way_leaves_nothing_of_it() {
    let dir = tempdir::Dir::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let path = dir.path().to_owned();
    let open = async move {
        let file = File::open(&path, &Patience::default()).await.unwrap();
        file.migrate().await.unwrap();
        file.writer.lasting(Duration::MAX);
        let first = begin(&file).await;
        let second = waits(&file, Line::Anew).await;
        let first = commits(first, "a").await;
        (file, first, second.await.unwrap())
    };
    let (_file, _first, mut second) = runtime.block_on(open);
    runtime.block_on(store(&mut second, "b", 1)).unwrap();
    runtime.spawn(async move {
        let _second = second;
        std::future::pending::<()>().await;
    });

    drop(runtime);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let again = File::open(dir.path(), &Patience::default()).await.unwrap();
        assert!(names(&again).await.is_empty());
    });
}

#[tokio::test]
async fn who_is_ready_to_run_shares_the_commit_of_a_verb_that_ends_alone() {
    let (_dir, file) = file().await;
    let mut one = begin(&file).await;
    store(&mut one, "a", 1).await.unwrap();
    let at = file.clone();
    let other = tokio::spawn(async move {
        let mut other = begin(&at).await;
        store(&mut other, "b", 1).await.unwrap();
        other.commit().await.unwrap();
    });

    one.commit().await.unwrap();

    other.await.unwrap();
    assert_eq!(names(&file).await, ["a", "b"]);
    assert_eq!(file.writer.commits(), 1);
}
