//! Who waits for the writer, in two lines.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// After so many urgent ones in a row one of the others has its turn, so that neither starves.
const URGENT_IN_A_ROW: u32 = 16;

/// How soon a verb has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::driver) enum Line {
    /// What people and running calls need.
    Urgent,
    /// What agents ask for anew.
    Anew,
}

/// The two lines. Whoever stopped waiting is passed over when it is its turn.
///
/// Bounded by the tasks that wait, each for a time; emptied as the writer goes on.
#[derive(Debug)]
pub(super) struct Lines<T> {
    urgent: VecDeque<oneshot::Sender<T>>,
    anew: VecDeque<oneshot::Sender<T>>,
    in_a_row: u32,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { urgent: VecDeque::new(), anew: VecDeque::new(), in_a_row: 0 }
    }
}

impl<T> Lines<T> {
    /// A place at the end of a line.
    pub(super) fn join(&mut self, line: Line) -> oneshot::Receiver<T> {
        let (turn, wait) = oneshot::channel();
        match line {
            Line::Urgent => self.urgent.push_back(turn),
            Line::Anew => self.anew.push_back(turn),
        }
        wait
    }

    /// Gives the turn to who comes next.
    ///
    /// # Errors
    /// The turn itself, when nobody waits.
    pub(super) fn give(&mut self, mut turn: T) -> Result<(), T> {
        while let Some(next) = self.next() {
            match next.send(turn) {
                Ok(()) => return Ok(()),
                Err(back) => turn = back,
            }
        }
        Err(turn)
    }

    fn next(&mut self) -> Option<oneshot::Sender<T>> {
        let others_first = self.in_a_row >= URGENT_IN_A_ROW && !self.anew.is_empty();
        if others_first || self.urgent.is_empty() {
            self.in_a_row = 0;
            return self.anew.pop_front();
        }
        self.in_a_row += 1;
        self.urgent.pop_front()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.anew.len()
    }

    /// Sends all home.
    pub(super) fn clear(&mut self) {
        self.urgent.clear();
        self.anew.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines, URGENT_IN_A_ROW};

    #[test]
    fn what_is_urgent_goes_first_and_neither_line_starves() {
        let mut lines = Lines::default();
        let mut anew: Vec<_> = (0..3).map(|_| lines.join(Line::Anew)).collect();
        let mut urgent: Vec<_> =
            (0..2 * URGENT_IN_A_ROW).map(|_| lines.join(Line::Urgent)).collect();

        for turn in 0..2 * URGENT_IN_A_ROW + 3 {
            lines.give(turn).unwrap();
        }

        let of = |waits: &mut Vec<tokio::sync::oneshot::Receiver<u32>>| -> Vec<u32> {
            waits.iter_mut().map(|wait| wait.try_recv().unwrap()).collect()
        };
        assert_eq!(of(&mut anew), [16, 33, 34]);
        assert_eq!(of(&mut urgent)[15..17], [15, 17]);
        assert_eq!(lines.give(0), Err(0));
    }

    #[test]
    fn who_stopped_waiting_is_passed_over() {
        let mut lines = Lines::default();
        drop(lines.join(Line::Urgent));
        let mut waits = lines.join(Line::Urgent);

        lines.give(7).unwrap();

        assert_eq!(waits.try_recv(), Ok(7));
    }
}
