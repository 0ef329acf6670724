//! Names the commit that is built, for `placet --version`.
//!
//! It runs again when another commit is checked out, or with what makes the program compile again
//! anyway. Without git, or from a package, there is only the version; nothing here fails a build.

use std::path::Path;
use std::process::Command;

/// What the program is made of: while it is changed, the commit is called dirty.
const SOURCES: [&str; 6] = ["Cargo.lock", "Cargo.toml", "config", "migrations", "src", "templates"];

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let version = match commit() {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=PLACET_VERSION={version}");
}

/// The short hash, with `-dirty` where files that it holds were changed.
fn commit() -> Option<String> {
    let about =
        git(&["rev-parse", "--show-toplevel", "--git-path", "HEAD", "--git-path", "logs/HEAD"])?;
    let mut lines = about.lines();
    // A package unpacked within somebody else's repository is not of their commit.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")?;
    if Path::new(lines.next()?).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    // Both, since a commit changes the log and not HEAD. What isn't there would be changed always.
    for path in lines.filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    git(&["describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
