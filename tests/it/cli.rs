//! The commands of the built binary.

mod catalog;
mod convert;
mod copies;
mod misfits;
mod policy_test;
mod replay;
mod stdio;
mod tools;
