//! Who is away, and who stands in.
//!
//! A stand-in takes the seat of one absent person and never gets a second one: who was asked
//! anyway counts as themselves. An approval keeps the stand-ins it was made with.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// One person away from when to when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// Its id in the store.
    pub id: String,
    /// Who is away.
    pub reviewer: String,
    /// Who stands in.
    pub delegate: String,
    /// The first instant of the absence.
    pub from: Timestamp,
    /// The instant at which it is over.
    pub until: Timestamp,
}

/// Somebody who decides in the place of somebody absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIn {
    /// Name of the person who decides.
    pub delegate: String,
    /// Name of the absent person whose seat they take.
    pub of: String,
}

impl Absence {
    fn covers(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.from < other.until && other.from < self.until
    }
}

/// Who stands in for `reviewer` now. Where a stand-in is away too, it is whom they named in turn, as
/// long as the chain `passes` each of them: it ends at the first whom it does not pass, for nobody
/// hands on what is not theirs. Nobody where the reviewer is not away, or where the chain leads back.
pub fn stand_in<'a>(
    absences: &'a [Absence],
    reviewer: &str,
    now: Timestamp,
    passes: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    let next = |who: &str| {
        absences.iter().find(|a| a.reviewer == who && a.covers(now)).map(|a| &a.delegate)
    };
    let mut seen = vec![reviewer.to_owned()];
    let mut last = None;
    while let Some(delegate) = next(seen.last().map_or(reviewer, String::as_str)) {
        if seen.contains(delegate) {
            return None;
        }
        last = Some(delegate.as_str());
        if !passes(delegate) {
            break;
        }
        seen.push(delegate.clone());
    }
    last
}

/// Why an absence can't be entered beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// Nobody stands in for themselves.
    Oneself,
    /// It ends before it begins, or is over already.
    Times,
    /// The same person has another absence at that time.
    Overlaps,
    /// At some time in it the chain of stand-ins would lead back to the absent person.
    Loop,
}

/// Checks that an absence fits beside those that are entered already.
///
/// # Errors
/// [`Clash`] names the first rule that it breaks.
pub fn fits(absences: &[Absence], new: &Absence, now: Timestamp) -> Result<(), Clash> {
    if new.reviewer == new.delegate {
        return Err(Clash::Oneself);
    }
    if new.until <= new.from || new.until <= now {
        return Err(Clash::Times);
    }
    if absences.iter().any(|a| a.reviewer == new.reviewer && a.overlaps(new)) {
        return Err(Clash::Overlaps);
    }
    // A loop exists at some instant exactly if it exists where one of its absences begins.
    let mut all: Vec<Absence> = absences.to_vec();
    all.push(new.clone());
    let starts = all.iter().map(|a| a.from).filter(|at| new.covers(*at)).collect::<Vec<_>>();
    let loops = |at: Timestamp| {
        let mut who = new.delegate.as_str();
        for _ in 0..=all.len() {
            if who == new.reviewer {
                return true;
            }
            match all.iter().find(|a| a.reviewer == who && a.covers(at)) {
                Some(next) => who = &next.delegate,
                None => return false,
            }
        }
        true
    };
    if starts.into_iter().any(loops) { Err(Clash::Loop) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_micros(hour * 3_600_000_000)
    }

    fn away(reviewer: &str, delegate: &str, from: i64, until: i64) -> Absence {
        Absence {
            id: format!("{reviewer}-{from}"),
            reviewer: reviewer.into(),
            delegate: delegate.into(),
            from: at(from),
            until: at(until),
        }
    }

    #[test]
    fn the_end_of_the_chain_stands_in_while_it_lasts() {
        let all = [away("ana", "ben", 1, 10), away("ben", "cy", 5, 7)];

        let of = |hour| stand_in(&all, "ana", at(hour), |_| true);

        assert_eq!(
            (of(0), of(1), of(5), of(7), of(10)),
            (None, Some("ben"), Some("cy"), Some("ben"), None)
        );
        assert_eq!(stand_in(&all, "cy", at(5), |_| true), None);
        assert_eq!(stand_in(&all, "ana", at(5), |who| who != "ben"), Some("ben"), "ends at ben");
    }

    #[test]
    fn a_loop_that_got_in_leaves_everyone_to_themselves() {
        let all = [away("ana", "ben", 1, 10), away("ben", "ana", 1, 10)];

        assert_eq!(stand_in(&all, "ana", at(2), |_| true), None);
    }

    #[test]
    fn loops_overlaps_and_nonsense_are_refused() {
        let all = [away("ben", "cy", 5, 7), away("cy", "dora", 6, 9)];
        let try_it = |reviewer: &str, delegate: &str, from, until| {
            fits(&all, &away(reviewer, delegate, from, until), at(0))
        };

        assert_eq!(try_it("ana", "ana", 1, 2), Err(Clash::Oneself));
        assert_eq!(try_it("ana", "ben", 2, 2), Err(Clash::Times));
        assert_eq!(try_it("ana", "ben", -5, 0), Err(Clash::Times));
        assert_eq!(try_it("ben", "ana", 6, 20), Err(Clash::Overlaps));
        assert_eq!(try_it("ben", "ana", 7, 20), Ok(()));
        assert_eq!(try_it("dora", "ben", 1, 9), Err(Clash::Loop), "between 6 and 7");
        assert_eq!(try_it("dora", "ben", 7, 9), Ok(()));
        assert_eq!(try_it("cy", "ben", 5, 6), Err(Clash::Loop));
    }
}
