//! The commands of the built binary.

mod stdio;
