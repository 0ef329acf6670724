//! The words by which approvals are found.

use sqlx::AssertSqlSafe;

use crate::domain::approval::Approval;
use crate::domain::search_words::words_of;
use crate::store::Result;
use crate::store::driver::{Step, Tx, args};

use super::rowset::{Rowset, Text};

/// A word of more approvals than this is common: a search does not start from it.
const COMMON: i64 = 5_000;

/// Adds the words that approvals have by now. Words never leave them while they are kept.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn index<'a>(
    tx: &mut Tx,
    approvals: impl IntoIterator<Item = &'a Approval>,
) -> Result<()> {
    match step(tx, approvals) {
        Some(step) => tx.all(vec![step]).await.map(drop),
        None => Ok(()),
    }
}

/// The statement by which that is done; none where there are no words.
pub(super) fn step<'a>(tx: &Tx, approvals: impl IntoIterator<Item = &'a Approval>) -> Option<Step> {
    let mut rows = Rowset::of(&[("word", Text), ("approval", Text)]);
    for approval in approvals {
        for word in words_of(approval) {
            rows.push(args![word, approval.id.as_str()]);
        }
    }
    if rows.is_empty() {
        return None;
    }
    let sql = format!(
        "insert into approval_words (word, approval) select r.word, r.approval from {} where true \
         on conflict (word, approval) do nothing",
        rows.source(tx, 1)
    );
    Some(Step::new(AssertSqlSafe(sql), vec![rows.argument()]))
}

/// Whether even the rarest word is one of many approvals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Common {
    /// It is a word of few.
    No,
    /// It is a word of many.
    Yes,
}

/// The words with the rarest one in front, so that a list starts from few approvals.
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read.
pub(super) async fn rarest_first(tx: &mut Tx, words: &[String]) -> Result<(Vec<String>, Common)> {
    let mut counted = Vec::with_capacity(words.len());
    for word in words {
        // Counting ends where a word is known to be common. The order keeps PostgreSQL on the
        // index: it would read the table for a common word, and all of it where those rows come
        // late.
        let n = tx
            .count(
                "select count(*) as n from (select 1 as one from approval_words where word = $1 \
                 order by approval limit $2) w",
                args![word, COMMON],
            )
            .await?;
        counted.push((n, word.clone()));
    }
    counted.sort();
    let common = match counted.first() {
        Some((n, _)) if *n >= COMMON => Common::Yes,
        _ => Common::No,
    };
    Ok((counted.into_iter().map(|(_, word)| word).collect(), common))
}
