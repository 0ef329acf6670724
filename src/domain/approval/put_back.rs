//! What becomes of approvals whose database was put back from an older copy of itself.

use crate::domain::audit::Kind;
use crate::domain::time::Timestamp;

use super::{Approval, Refusal, State, Transition};

/// What the reason of an end begins with that came of a restore.
const PUT_BACK: &str = "the database was put back from an older copy";

impl Approval {
    /// Ends what was open in a copy that was put back: it may have been decided, and have run, since
    /// the copy was made at `copied_at`, if that is known. It is `indeterminate`, and is never sent
    /// by itself. With `ask_again` one that was still `pending` is `cancelled` instead and owed to
    /// nobody, so that the identical call asks people anew; one that was approved may well have run,
    /// and stays to be looked at.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] where it has ended.
    pub fn put_back(
        mut self,
        ask_again: bool,
        copied_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        let from = self.state;
        if from.is_end() {
            return Err(Refusal::WrongState(from));
        }
        let of = copied_at.map(|at| format!(" of {at}")).unwrap_or_default();
        let (state, kind, since) = match from {
            State::Pending if ask_again => (
                State::Cancelled,
                Kind::ApprovalCancelled,
                "nobody had decided it then; calling again asks anew",
            ),
            State::Pending => (
                State::Indeterminate,
                Kind::CallIndeterminate,
                "nobody had decided it then, and it may have been approved and have run since",
            ),
            State::Approved => (
                State::Indeterminate,
                Kind::CallIndeterminate,
                "it was approved then, and may have run since",
            ),
            _ => (
                State::Indeterminate,
                Kind::CallIndeterminate,
                "it was running then, and its outcome is not in the copy",
            ),
        };
        let why = format!("{PUT_BACK}{of}: {since}");
        self.state = state;
        self.executor = None;
        self.owed = false;
        self.finished_at = Some(now);
        self.end_reason = Some(why.clone());
        let event = self.event(kind, "placet", now).with("why", &why).with("was", from.as_str());
        Ok(self.changed(from, vec![event]))
    }

    /// Whether it ended because its database was put back from an older copy, so that nothing is known
    /// of whether it was sent.
    pub fn was_put_back(&self) -> bool {
        self.end_reason.as_deref().is_some_and(|why| why.starts_with(PUT_BACK))
    }
}
