//! The broker on a real database: what is held, run, told and refused.

mod absences;
mod assurance;
mod away;
mod bad_days;
mod client_sessions;
mod clock_at_start;
mod damaged;
mod faults;
mod further_rounds;
mod governed;
mod grants;
mod hold;
mod hold_budget;
mod late;
mod lease;
mod open_calls;
mod policy_changes;
mod remote;
mod restart;
mod restore;
mod rights;
mod sleep;
mod tasks;
mod unattended;
mod wait_by_id;
mod withdraw;
