//! An error down to its cause, as one text.

use std::error::Error;

/// The error and its causes in one text, `outermost: … : cause`. A cause is left out where the
/// error above it repeats its words.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    text
}

/// The innermost cause of the error, alone.
pub(crate) fn root_cause(error: &dyn Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    fn chain(words: &[&'static str]) -> Link {
        let (first, rest) = words.split_first().unwrap();
        Link(first, (!rest.is_empty()).then(|| Box::new(chain(rest))))
    }

    #[test]
    fn every_cause_is_said_once_from_the_outermost_to_the_root() {
        let error = chain(&["not sent", "no connection", "refused"]);

        assert_eq!(in_full(&error), "not sent: no connection: refused");
        assert_eq!(root_cause(&error), "refused");
    }

    #[test]
    fn what_an_effect_repeats_of_its_cause_is_said_once() {
        let error = chain(&["no connection: refused", "refused", "by 192.0.2.7"]);

        assert_eq!(in_full(&error), "no connection: refused: by 192.0.2.7");
    }

    #[test]
    fn an_error_without_a_cause_is_its_own() {
        let error = chain(&["lost"]);

        assert_eq!((in_full(&error), root_cause(&error)), ("lost".to_owned(), "lost".to_owned()));
    }
}
