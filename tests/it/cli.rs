//! The commands of the built binary.

mod copies;
mod misfits;
mod stdio;
mod tools;
