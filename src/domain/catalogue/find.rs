//! A known server, by what somebody calls it.

use super::{KnownServer, all};

/// Why no server was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// None is called so.
    Unknown,
    /// Several are, each by its package.
    Several(Vec<&'static str>),
}

/// The known server of this package, of this name, long or short, or with this text in one of them;
/// upper and lower case are one.
///
/// # Errors
/// None is called so, or several are and none of them exactly.
pub fn find(word: &str) -> Result<&'static KnownServer, Missing> {
    let word = word.to_lowercase();
    if word.is_empty() {
        return Err(Missing::Unknown);
    }
    let fits = |test: &dyn Fn(&str) -> bool, texts: &[&str]| {
        texts.iter().any(|text| test(&text.to_lowercase()))
    };
    let is = |text: &str| text == word;
    let has = |text: &str| text.contains(&word);
    let tries: [&dyn Fn(&KnownServer) -> bool; 3] =
        [&|s| fits(&is, &[s.package]), &|s| fits(&is, &[s.declared, s.name()]), &|s| {
            fits(&has, &[s.package, s.declared])
        }];
    for matches in tries {
        let found: Vec<&'static KnownServer> = all().iter().filter(|s| matches(s)).collect();
        match found[..] {
            [] => {}
            [one] => return Ok(one),
            _ => return Err(Missing::Several(found.iter().map(|s| s.package).collect())),
        }
    }
    Err(Missing::Unknown)
}
