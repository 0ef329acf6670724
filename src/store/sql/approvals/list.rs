//! Lists of approvals: each is read in the order of an index, to its limit.

use crate::domain::approval::{Approval, State};
use crate::domain::time::Timestamp;
use crate::store::driver::{Arg, Db, args};
use crate::store::sql::readable::Named;
use crate::store::sql::words::{self, Common};
use crate::store::{Filter, Fold, Result};

use super::row::read;
use super::{SELECT, URGENCY};

/// The approvals that `filter` lets through, in its order; those that can't be read are left out,
/// unless all are asked for.
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read, or one of the rows and all are asked
/// for.
pub(super) async fn list(db: Db, filter: Filter, now: Timestamp) -> Result<Vec<Approval>> {
    let mut tx = db.read().await?;
    let (words, common) = words::rarest_first(&mut tx, &filter.words).await?;
    let narrowed = !filter.states.is_empty()
        || [&filter.upstream, &filter.tool, &filter.agent].iter().any(|f| f.is_some());
    // From the approvals of its rarest word; or, where that one is common, from those of the state,
    // tool, agent or upstream.
    let by_word = !words.is_empty() && (common == Common::No || !narrowed);
    let mut values: Vec<Arg> = args![now];
    let mut wheres = conditions(&filter, &mut values);
    let mut bind = |value: Arg| {
        values.push(value);
        values.len()
    };
    let of_state = |state: &State| format!("a.state = '{}'", state.as_str());
    if let Some(before) = &filter.before {
        let n = bind(before.into());
        wheres.push(format!("a.id < ${n}"));
        if by_word {
            wheres.push(format!("w.approval < ${n}"));
        }
    }
    for (i, word) in words.iter().enumerate() {
        let n = bind(word.into());
        wheres.push(if i == 0 && by_word {
            format!("w.word = ${n} and a.id = w.approval")
        } else {
            format!(
                "exists (select 1 from approval_words o where o.word = ${n} and o.approval = a.id)"
            )
        });
    }
    let from = if by_word { "approval_words w cross join approvals a" } else { "approvals a" };
    let order = match filter.changed_since {
        Some(since) => {
            wheres.push(format!("a.changed_at >= ${}", bind(since.into())));
            "a.changed_at, a.id"
        }
        None if by_word => "w.approval desc",
        None => "a.id desc",
    };
    let limit = bind(filter.limit.into());
    let offset = bind(filter.offset.into());
    // What the offset leaves out must be found as well.
    let found = bind(filter.limit.saturating_add(filter.offset).into());
    // One list for each state: each is read in its order from an index and ends at the limit.
    // All of them in one would be read whole and sorted.
    let lists = match &filter.states[..] {
        [] => vec![wheres.join(" and ")],
        states => {
            states.iter().map(|s| [&[of_state(s)], &wheres[..]].concat().join(" and ")).collect()
        }
    };
    let order = if filter.by_urgency { URGENCY } else { order };
    let select = SELECT.as_str();
    let sql = if let [only] = &lists[..]
        && !filter.by_urgency
        && !by_word
        && filter.fold.is_none()
    {
        format!("{select}where {only} order by {order} limit ${limit} offset ${offset}")
    } else {
        // Sorted by what is small, so that only those that are shown are read whole.
        let ids: Vec<String> = lists.iter().map(|wheres| match filter.fold {
            None => format!(
                "select id from (select a.id from {from} where {wheres} order by {order} limit ${found}) l"
            ),
            Some(Fold { over, shown }) => format!(
                "select id from (select a.id, count(*) over (partition by a.agent) as n, \
                   row_number() over (partition by a.agent order by {order}) as place \
                   from {from} where {wheres}) l where n <= {over} or place <= {shown}"
            ),
        }).collect();
        let order = if by_word { "a.id desc" } else { order };
        format!(
            "{select}where a.id in ({}) order by {order} limit ${limit} offset ${offset}",
            ids.join(" union all ")
        )
    };
    if filter.whole {
        return tx.rows(sqlx::AssertSqlSafe(sql), values).await?.iter().map(read).collect();
    }
    let page = |n: u32| {
        let mut values = values.clone();
        values[limit - 1] = n.into();
        values[found - 1] = n.saturating_add(filter.offset).into();
        values
    };
    Named::APPROVALS.first(&mut tx, filter.limit, (sql, page), read).await
}

/// What `filter` demands of an approval by its own columns; their values are added to `values`.
fn conditions(filter: &Filter, values: &mut Vec<Arg>) -> Vec<String> {
    let mut wheres = vec!["1 = 1".to_owned()];
    let mut bind = |value: Arg| {
        values.push(value);
        values.len()
    };
    for (column, value) in
        [("upstream", &filter.upstream), ("tool", &filter.tool), ("agent", &filter.agent)]
    {
        if let Some(value) = value {
            wheres.push(format!("a.{column} = ${}", bind(value.into())));
        }
    }
    if let Some(reviewer) = &filter.visible_to {
        let n = bind(format!("|{reviewer}|").into());
        wheres.push(format!("(a.sensitive = 0 or replace(a.audience, ${n}, '') <> a.audience)"));
    }
    if filter.unsettled {
        wheres.push("(a.state <> 'indeterminate' or a.settled is null)".to_owned());
    }
    wheres
}

/// How many approvals `filter` lets through by their own columns, by agent, the most first.
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read.
pub(super) async fn count_by_agent(db: Db, filter: Filter) -> Result<Vec<(String, u64)>> {
    let mut values: Vec<Arg> = Vec::new();
    let wheres = conditions(&filter, &mut values).join(" and ");
    let states: Vec<String> =
        filter.states.iter().map(|state| format!("'{}'", state.as_str())).collect();
    let states = if states.is_empty() {
        String::new()
    } else {
        format!(" and a.state in ({})", states.join(","))
    };
    let sql = format!(
        "select a.agent, count(*) as n from approvals a where {wheres}{states} \
          group by a.agent order by n desc, a.agent"
    );
    let rows = db.read().await?.rows(sqlx::AssertSqlSafe(sql), values).await?;
    rows.iter()
        .map(|row| Ok((row.text("agent")?, u64::try_from(row.int("n")?).unwrap_or_default())))
        .collect()
}
