//! What `--version` says of the program that was built.

use std::process::Command;

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| text.trim().to_owned())
}

#[test]
fn the_version_names_the_commit_it_was_built_of() {
    let version = said(env!("CARGO_BIN_EXE_placet"), &["--version"]).unwrap();
    let plain = format!("placet {}", env!("CARGO_PKG_VERSION"));

    let here = said("git", &["rev-parse", "--show-toplevel"]);
    if here.is_none_or(|here| here != env!("CARGO_MANIFEST_DIR")) {
        assert_eq!(version, plain, "built from a package");
        return;
    }
    // Files may have been changed since it was built, and back; the commit not without a build.
    let commit = said("git", &["rev-parse", "--short=7", "HEAD"]).unwrap();
    let named = format!("{plain} ({commit})");
    let dirty = format!("{plain} ({commit}-dirty)");
    assert!(version == named || version == dirty, "{version} is neither {named} nor {dirty}");
}
