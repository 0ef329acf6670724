//! Which ended approvals are kept though their time is over.

/// Approvals that are kept: those that have not ended, or not before `$1`, or that still count for
/// somebody at `$2`. Open and unsettled ones stay, and ends that a person settled until the agent is
/// told, however old they are; an owed end of another kind stays owed for
/// `approvals.result_retention`, and a start with a shorter history is refused. A rejection stays
/// while it cools, by the terms it was made under, which may be longer than those of now.
macro_rules! kept {
    ($cooldown_s:literal) => {
        concat!(
            "(finished_at is null or finished_at > $1 \
              or state in ('pending', 'approved', 'running') \
              or (state = 'indeterminate' and (settled is null or owed = 1)) \
              or (state = 'rejected' and coalesce(decided_at, finished_at) \
                                         + coalesce(",
            $cooldown_s,
            ", 0) * 1000000 > $2))"
        )
    };
}

const KEPT_SQLITE: &str = kept!("json_extract(terms, '$.cooldown_s')");
const KEPT_POSTGRES: &str = kept!("cast(cast(terms as json) ->> 'cooldown_s' as bigint)");

/// Ids of `$3` ended approvals that may be deleted.
pub(super) fn approvals(is_postgres: bool) -> String {
    format!(
        "select id from approvals where finished_at <= $1 and not {} limit $3",
        kept(is_postgres)
    )
}

/// Ids of `$3` finished messages that may be deleted: those of an approval once it may go, too.
pub(super) fn outbox(is_postgres: bool) -> String {
    format!(
        "select id from outbox where finished_at <= $1 and state <> 'due' and not exists \
         (select 1 from approvals where approvals.id = outbox.approval and {}) limit $3",
        kept(is_postgres)
    )
}

const fn kept(is_postgres: bool) -> &'static str {
    if is_postgres { KEPT_POSTGRES } else { KEPT_SQLITE }
}
