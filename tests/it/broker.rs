//! The broker on a real database: what is held, run, told and refused.

mod assurance;
mod away;
mod faults;
mod governed;
mod grants;
mod hold;
mod patience;
mod policy;
mod restart;
mod rights;
mod tasks;
mod tasks_upstream;
mod unattended;
mod wait;
