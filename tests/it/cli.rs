//! The commands of the built binary.

mod convert;
mod copies;
mod misfits;
mod stdio;
mod tools;
