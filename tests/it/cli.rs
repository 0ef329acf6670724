//! The commands of the built binary.

mod copies;
mod stdio;
