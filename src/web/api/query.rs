//! Query strings, read strictly: an unknown name or value is refused, never ignored.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;

use crate::domain::approval::{ApprovalId, State};
use crate::domain::search_words::sought;
use crate::store::Filter;

use super::super::error::Problem;

/// Most approvals of one page, and how many without a `limit`.
const APPROVALS: (u32, u32) = (200, 50);

/// Most records of one page, and how many without a `limit`.
const RECORDS: (u32, u32) = (1_000, 100);

/// The pairs of a query string; empty values count as absent.
///
/// # Errors
/// `invalid_request`: it can't be read, or gives a name twice.
pub(crate) fn pairs(
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Vec<(String, String)>, Problem> {
    let Query(pairs) = query.map_err(|_| Problem::invalid("the query string can't be read"))?;
    for (i, (name, _)) in pairs.iter().enumerate() {
        if pairs[..i].iter().any(|(n, _)| n == name) {
            return Err(Problem::invalid(format!("{name} is given twice")));
        }
    }
    Ok(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

/// Which approvals to list.
///
/// # Errors
/// `invalid_request`: an unknown name, or a value that can't be read.
pub(crate) fn filter(pairs: &[(String, String)]) -> Result<Filter, Problem> {
    let mut filter = Filter { limit: APPROVALS.1, ..Filter::default() };
    for (name, value) in pairs {
        match name.as_str() {
            "state" => filter.states = states(value)?,
            "upstream" => filter.upstream = Some(value.clone()),
            "tool" => filter.tool = Some(value.clone()),
            "agent" => filter.agent = Some(value.clone()),
            "q" => filter.words = words(value)?,
            "limit" => filter.limit = limit(value, APPROVALS.0)?,
            "cursor" => {
                let id = ApprovalId::parse(value).ok_or_else(|| {
                    Problem::invalid("cursor must be the next_cursor of a page before")
                })?;
                filter.before = Some(id.to_string());
            }
            _ => {
                return Err(unknown(name, "state, upstream, tool, agent, q, limit, cursor"));
            }
        }
    }
    Ok(filter)
}

/// The words that `q` looks for.
///
/// # Errors
/// `invalid_request`: there is no word in it.
pub(crate) fn words(text: &str) -> Result<Vec<String>, Problem> {
    let words = sought(text);
    if words.is_empty() {
        return Err(Problem::invalid("q has no word to look for: letters or digits"));
    }
    Ok(words)
}

/// After which record (`seq`) to begin, and how many records to list.
///
/// # Errors
/// `invalid_request`: an unknown name, or a value out of range.
pub(crate) fn audit(pairs: &[(String, String)]) -> Result<(i64, u32), Problem> {
    let (mut after, mut most) = (0, RECORDS.1);
    for (name, value) in pairs {
        match name.as_str() {
            "after" => {
                after =
                    value.parse().ok().filter(|n: &i64| *n >= 0).ok_or_else(|| {
                        Problem::invalid("after must be the seq of a record, or 0")
                    })?;
            }
            "limit" => most = limit(value, RECORDS.0)?,
            _ => return Err(unknown(name, "after, limit")),
        }
    }
    Ok((after, most))
}

fn states(list: &str) -> Result<Vec<State>, Problem> {
    list.split(',')
        .map(|word| {
            State::parse(word.trim()).ok_or_else(|| {
                let known: Vec<_> = State::ALL.iter().map(|s| s.as_str()).collect();
                Problem::invalid(format!(
                    "there is no state {word:?}; there are {}",
                    known.join(", ")
                ))
            })
        })
        .collect()
}

fn limit(value: &str, most: u32) -> Result<u32, Problem> {
    let limit = value.parse().ok().filter(|n: &u32| (1..=most).contains(n));
    limit.ok_or_else(|| Problem::invalid(format!("limit must be a number from 1 to {most}")))
}

fn unknown(name: &str, known: &str) -> Problem {
    Problem::invalid(format!("unknown query parameter {name:?}; known are {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn states_are_a_list_of_known_words() {
        assert_eq!(
            filter(&of("state", "pending,approved")).unwrap().states,
            [State::Pending, State::Approved]
        );
        assert!(filter(&of("state", "open")).unwrap_err().detail.contains("no state \"open\""));
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(filter(&of("limit", "200")).unwrap().limit, 200);
        assert_eq!(filter(&[]).unwrap().limit, 50);
        for wrong in ["201", "0", "-1", "x"] {
            assert!(filter(&of("limit", wrong)).is_err(), "{wrong}");
        }
        assert!(audit(&of("limit", "1001")).is_err());
    }

    #[test]
    fn unknown_parameters_and_foreign_cursors_are_refused() {
        assert!(filter(&of("page", "2")).is_err());
        assert!(filter(&of("cursor", "2")).is_err());
        assert!(audit(&of("after", "-2")).is_err());
    }
}
