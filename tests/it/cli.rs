//! The commands of the built binary.

mod catalog;
mod convert;
mod copies;
mod misfits;
mod stdio;
mod tools;
