//! The commands of the built binary.

mod catalog;
mod convert;
mod copies;
mod misfits;
mod policy_test;
mod replay;
mod stdio;
mod tools;

use std::process::Output;

use tokio::process::Command;

use crate::support::db::Dir;
use crate::support::soon;

/// Runs the program in a folder until it ends: its exit code, what it said, and what it told beside.
async fn placet(dir: &Dir, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_placet"));
    command.args(arguments).current_dir(&dir.0).kill_on_drop(true);
    let Output { status, stdout, stderr } =
        soon("the end of the command", command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}
