//! Writes into a file that belongs to somebody else: the old one stays beside it, the new one
//! appears at once or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Largest configuration of a client that is read, bytes.
pub(super) const MAX_FILE: u64 = 4 << 20;
/// Mode of new files, for their owner alone: they may come to hold a token.
const PRIVATE: u32 = 0o600;
/// Most backups that are kept side by side.
const MAX_BACKUPS: u32 = 100;

/// A client's file as it was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The file itself, links followed.
    path: PathBuf,
    /// The text that was read; none if there is no file.
    text: Option<String>,
    mode: u32,
}

/// Reads the file, if there is one.
///
/// # Errors
/// The path is a link that leads nowhere, or is not a regular file; or the file can't be read, is
/// larger than [`MAX_FILE`] or not UTF-8; in words, with the path.
pub(super) fn find(path: &Path) -> Result<Found, String> {
    let named = |error: &io::Error| format!("{}: {error}", path.display());
    // A link stays a link: what it leads to is written.
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                return Err(format!("{}: it is a link that leads nowhere", path.display()));
            }
            return Ok(Found { path: path.to_owned(), text: None, mode: PRIVATE });
        }
        Err(error) => return Err(named(&error)),
    };
    let about = fs::metadata(&real).map_err(|e| named(&e))?;
    if !about.is_file() {
        return Err(format!("{}: it is not a file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(&real).map_err(|e| named(&e))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| named(&e))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{}: it is larger than {MAX_FILE} bytes", path.display()));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
    let mode = about.permissions().mode() & 0o777;
    Ok(Found { path: real, text: Some(text), mode })
}

impl Found {
    /// The file's text; none if there is no file.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Puts the new text in its place; returns the backup of the old one. With a `secret` in it the
    /// file is its owner's alone.
    ///
    /// # Errors
    /// The folder, the backup or the new file can't be written, there are [`MAX_BACKUPS`] backups,
    /// or somebody changed the file meanwhile; in words, with the path. The old file then stands as
    /// it was.
    pub(super) fn replace(&self, new: &str, secret: bool) -> Result<Option<PathBuf>, String> {
        let named = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
        if let Some(parent) = self.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|e| named(parent, &e))?;
        }
        let backup = match &self.text {
            Some(old) => Some(self.backup(old)?),
            None => None,
        };
        let draft = sibling(&self.path, &format!("placet-{}", std::process::id()));
        // One that an interrupted run left behind.
        let _ = fs::remove_file(&draft);
        let mode = if secret { self.mode & 0o700 } else { self.mode };
        let written = write_new(&draft, new, mode)
            .and_then(|()| {
                // Somebody may have written meanwhile, and their change must not be lost.
                if self.is_unchanged() {
                    Ok(())
                } else {
                    Err(io::Error::other("changed meanwhile"))
                }
            })
            .and_then(|()| fs::rename(&draft, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&draft);
            return Err(named(&self.path, &error));
        }
        Ok(backup)
    }

    fn is_unchanged(&self) -> bool {
        match (&self.text, fs::read(&self.path)) {
            (Some(old), Ok(now)) => now == old.as_bytes(),
            (None, Err(error)) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    fn backup(&self, old: &str) -> Result<PathBuf, String> {
        for n in 0..MAX_BACKUPS {
            let suffix = if n == 0 { "bak".to_owned() } else { format!("bak.{n}") };
            let path = sibling(&self.path, &suffix);
            match write_new(&path, old, self.mode & 0o700) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
        Err(format!(
            "{}: there are {MAX_BACKUPS} backups beside it already; remove some",
            self.path.display()
        ))
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// Never follows a link and never overwrites.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(mode | 0o400))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("placet-place-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_private_and_its_folder_is_made() {
        let dir = Dir::new("new");
        let path = dir.0.join(".cursor/mcp.json");

        let backup = find(&path).unwrap().replace("{}", false).unwrap();

        assert_eq!((backup, mode(&path)), (None, 0o600));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_old_file_stays_beside_the_new_one_and_backups_are_never_overwritten() {
        let dir = Dir::new("old");
        let path = dir.0.join("mcp.json");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        let first = find(&path).unwrap().replace("two", false).unwrap().unwrap();
        let second = find(&path).unwrap().replace("three", true).unwrap().unwrap();

        assert_eq!(fs::read_to_string(&first).unwrap(), "one");
        assert_eq!(fs::read_to_string(&second).unwrap(), "two");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!((mode(&first), mode(&path)), (0o600, 0o600), "private once a token is in it");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = Dir::new("link");
        let (real, link) = (dir.0.join("real.json"), dir.0.join("link.json"));
        fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();

        find(&link).unwrap().replace("{ }", false).unwrap();

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "{ }");
    }

    #[test]
    fn what_changed_meanwhile_is_not_overwritten() {
        let dir = Dir::new("race");
        let path = dir.0.join("mcp.json");
        fs::write(&path, "{}").unwrap();
        let found = find(&path).unwrap();
        fs::write(&path, "{\"theirs\": 1}").unwrap();

        let error = found.replace("{\"ours\": 1}", false).unwrap_err();

        assert!(error.contains("changed meanwhile"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"theirs\": 1}");
        assert!(
            !fs::read_dir(&dir.0)
                .unwrap()
                .any(|f| { f.unwrap().file_name().to_string_lossy().contains(".placet-") })
        );
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let dir = Dir::new("odd");
        let (bytes, dangling) = (dir.0.join("b"), dir.0.join("d"));
        fs::write(&bytes, [0xff, 0xfe]).unwrap();
        std::os::unix::fs::symlink(dir.0.join("nowhere"), &dangling).unwrap();

        for (path, why) in [
            (dir.0.as_path(), "not a file"),
            (Path::new("/dev/null"), "not a file"),
            (bytes.as_path(), "not UTF-8"),
            (dangling.as_path(), "leads nowhere"),
        ] {
            assert!(find(path).unwrap_err().contains(why), "{}", path.display());
        }
    }
}
