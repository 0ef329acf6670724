//! What is known of the health of one upstream without asking it: when it answered last, what
//! went wrong last and whether it has answered since, and how long its lists were when they were
//! read.

use super::time::Timestamp;

/// Most characters of an error that are kept: a server may send a text of any length.
pub const MAX_ERROR: usize = 500;

/// What a failure says about the upstream and about a call that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It could not be reached, or refused before it read: nothing was sent.
    NotSent,
    /// It was sent something and gave no readable answer.
    Lost,
    /// Its process ended by itself.
    Ended,
    /// It answers, but its list of tools can't be read.
    List,
}

impl Trouble {
    /// The word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Lost => "lost",
            Self::Ended => "ended",
            Self::List => "list",
        }
    }

    /// What follows from it, as a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotSent => "Nothing was sent to it: no call has run there because of this.",
            Self::Lost => {
                "It was sent something and gave no readable answer: if that was a call, it may \
                 have run."
            }
            Self::Ended => "Its process ended by itself; the next request starts it again.",
            Self::List => {
                "It answers, but its list of tools can't be read: agents are offered the list \
                 read last, or none."
            }
        }
    }
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of trouble.
    pub trouble: Trouble,
    /// In words, at most [`MAX_ERROR`] characters, on one line; the server's own may be among them.
    pub text: String,
    /// When it went wrong.
    pub at: Timestamp,
    /// Whether the upstream has answered after it.
    pub answered_since: bool,
}

/// A kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

impl ListKind {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The list that a method asks for, and the member of the answer that holds it.
    pub fn of_method(method: &str) -> Option<(Self, &'static str)> {
        match method {
            "prompts/list" => Some((Self::Prompts, "prompts")),
            "resources/list" => Some((Self::Resources, "resources")),
            "resources/templates/list" => Some((Self::Templates, "resourceTemplates")),
            // `tools/list` is not among them: Placet reads it by itself, page by page.
            _ => None,
        }
    }

    /// The word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resource_templates",
        }
    }
}

/// How much of a list was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRead {
    /// Entries on the pages read in a row from the first.
    pub count: usize,
    /// The raw cursor of the page after those; none where the list was read to its end.
    pub next: Option<String>,
    /// When its last page was read.
    pub at: Timestamp,
}

/// How an upstream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamState {
    /// Nothing has come from it yet, and nothing went wrong.
    Unused,
    /// A connection is being opened, or its process started.
    Starting,
    /// It answered what it was asked last.
    Reachable,
    /// What it was asked last failed.
    Failing,
    /// Its process has ended, and was not needed since.
    Ended,
}

impl UpstreamState {
    /// The word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Starting => "starting",
            Self::Reachable => "reachable",
            Self::Failing => "failing",
            Self::Ended => "ended",
        }
    }

    /// The standing in words, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unused => "never used",
            Self::Ended => "process ended",
            Self::Starting | Self::Reachable | Self::Failing => self.as_str(),
        }
    }
}

/// What this process knows of the health of one upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamHealth {
    /// When it answered last.
    pub answered_at: Option<Timestamp>,
    /// What went wrong last.
    pub failure: Option<Failure>,
    lists: [Option<ListRead>; 4],
}

impl UpstreamHealth {
    /// Notes that the upstream answered.
    pub fn answered(&mut self, now: Timestamp) {
        self.answered_at = Some(now);
        // Trouble with the list is over when a list was read, not after any other answer.
        if let Some(failure) = self.failure.as_mut().filter(|f| f.trouble != Trouble::List) {
            failure.answered_since = true;
        }
    }

    /// Notes that something went wrong, with the error as text.
    pub fn failed(&mut self, trouble: Trouble, text: &str, now: Timestamp) {
        let text = bounded(text);
        self.failure = Some(Failure { trouble, text, at: now, answered_since: false });
    }

    /// Notes that its list of tools was read to the end.
    pub fn listed_tools(&mut self, count: usize, now: Timestamp) {
        self.lists[ListKind::Tools as usize] = Some(ListRead { count, next: None, at: now });
        if let Some(failure) = &mut self.failure {
            failure.answered_since = true;
        }
    }

    /// Notes that a page of a list was read: the raw cursor it was asked with, its number of
    /// entries, and the raw next cursor.
    pub fn listed(
        &mut self,
        kind: ListKind,
        cursor: Option<&str>,
        entries: usize,
        next: Option<String>,
        now: Timestamp,
    ) {
        let slot = &mut self.lists[kind as usize];
        let before = match (cursor, &slot) {
            (None, _) => 0,
            (Some(cursor), Some(read)) if read.next.as_deref() == Some(cursor) => read.count,
            // A page out of order does not tell how long the list is.
            (Some(_), _) => return,
        };
        *slot = Some(ListRead { count: before + entries, next, at: now });
    }

    /// How much of a list was read; none where nothing was.
    pub fn list(&self, kind: ListKind) -> Option<&ListRead> {
        self.lists[kind as usize].as_ref()
    }

    /// Whether its list of tools could not be read when that was tried last, though it answers or
    /// was sent the question: agents have an old list, or none.
    pub fn is_list_unread(&self) -> bool {
        let never = self.list(ListKind::Tools).is_none();
        self.failure.as_ref().filter(|f| !f.answered_since).is_some_and(|f| match f.trouble {
            Trouble::List => true,
            Trouble::Lost => never,
            Trouble::NotSent | Trouble::Ended => false,
        })
    }

    /// How it stands; `opening` says whether a connection is being opened right now.
    pub fn state(&self, opening: bool) -> UpstreamState {
        match self.failure.as_ref().filter(|f| !f.answered_since).map(|f| f.trouble) {
            Some(Trouble::NotSent | Trouble::Lost) => UpstreamState::Failing,
            Some(Trouble::Ended) if opening => UpstreamState::Starting,
            Some(Trouble::Ended) => UpstreamState::Ended,
            Some(Trouble::List) | None if self.answered_at.is_some() => UpstreamState::Reachable,
            Some(Trouble::List) | None if opening => UpstreamState::Starting,
            Some(Trouble::List) | None => UpstreamState::Unused,
        }
    }
}

/// The text on one line, cut where it is too long.
fn bounded(text: &str) -> String {
    let mut end = text.char_indices().map(|(at, _)| at).skip(MAX_ERROR - 1);
    match (end.next(), end.next()) {
        (Some(at), Some(_)) => format!("{}…", &text[..at]),
        _ => text.to_owned(),
    }
}

/// What a server calls itself: title, name and version, at most [`MAX_ERROR`] characters. They are
/// a stranger's words, and are not escaped.
pub fn own_words(server_info: &str) -> Option<String> {
    let node = super::json::parse(server_info).ok()?;
    let part = |key| node.get(key).and_then(|n| n.as_str()).filter(|text| !text.is_empty());
    let words: Vec<&str> =
        [part("title"), part("name"), part("version")].into_iter().flatten().collect();
    let text = words.join(" ");
    (!text.is_empty()).then(|| bounded(&text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(0).plus(Duration::from_secs(second))
    }

    #[test]
    fn an_answer_outdates_the_last_error_and_does_not_hide_it() {
        let mut health = UpstreamHealth::default();
        assert_eq!(health.state(false), UpstreamState::Unused);
        assert_eq!(health.state(true), UpstreamState::Starting);

        health.failed(Trouble::NotSent, "connection refused", at(1));
        assert_eq!(health.state(true), UpstreamState::Failing);
        health.answered(at(2));

        assert_eq!(health.state(false), UpstreamState::Reachable);
        let failure = health.failure.clone().unwrap();
        assert_eq!((failure.at, failure.answered_since), (at(1), true));
        health.failed(Trouble::Lost, "cut off", at(3));
        assert_eq!(health.state(false), UpstreamState::Failing);
        assert_eq!(health.answered_at, Some(at(2)));
    }

    #[test]
    fn a_process_that_ended_is_not_failing_until_it_is_needed() {
        let mut health = UpstreamHealth::default();
        health.answered(at(1));
        health.failed(Trouble::Ended, "exit status: 9", at(2));

        assert_eq!(health.state(false), UpstreamState::Ended);
        assert_eq!(health.state(true), UpstreamState::Starting);
    }

    #[test]
    fn a_list_that_can_not_be_read_is_outdated_by_a_list_alone() {
        let mut health = UpstreamHealth::default();
        health.answered(at(1));
        health.failed(Trouble::List, "refused", at(1));
        health.answered(at(2));
        assert!(!health.failure.as_ref().unwrap().answered_since);
        assert_eq!(health.state(false), UpstreamState::Reachable);
        assert!(health.is_list_unread());

        health.listed_tools(3, at(3));

        assert!(!health.is_list_unread());
        assert!(health.failure.as_ref().unwrap().answered_since);
        assert_eq!(health.list(ListKind::Tools).unwrap().count, 3);
    }

    #[test]
    fn an_error_of_any_length_is_kept_to_the_limit() {
        let mut health = UpstreamHealth::default();
        for (length, kept) in
            [(MAX_ERROR, MAX_ERROR), (MAX_ERROR + 1, MAX_ERROR), (1 << 20, MAX_ERROR)]
        {
            health.failed(Trouble::Lost, &"ä".repeat(length), at(1));
            let text = health.failure.clone().unwrap().text;
            assert_eq!(text.chars().count(), kept);
            assert_eq!(text.ends_with('…'), length > MAX_ERROR);
        }
    }

    #[test]
    fn pages_of_a_list_add_up_in_order_and_others_count_for_nothing() {
        let mut health = UpstreamHealth::default();
        let next = |text: &str| Some(text.to_owned());
        let count = |c: &UpstreamHealth| {
            let read = c.list(ListKind::Prompts).unwrap();
            (read.count, read.next.is_none())
        };

        health.listed(ListKind::Prompts, Some("\"z\""), 9, None, at(1));
        assert_eq!(health.list(ListKind::Prompts), None);
        health.listed(ListKind::Prompts, None, 2, next("\"a\""), at(2));
        assert_eq!(count(&health), (2, false));
        health.listed(ListKind::Prompts, Some("\"z\""), 9, None, at(3));
        health.listed(ListKind::Prompts, Some("\"a\""), 3, None, at(4));
        assert_eq!(count(&health), (5, true));
        health.listed(ListKind::Prompts, None, 1, None, at(5));
        assert_eq!(count(&health), (1, true));
    }

    #[test]
    fn a_server_is_named_in_its_own_words() {
        let named = own_words(r#"{"name":"a\u202eb","version":"1.0","title":"T"}"#);

        assert_eq!(named.as_deref(), Some("T a\u{202e}b 1.0"));
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(MAX_ERROR + 1));
        assert_eq!(own_words(&long).unwrap().chars().count(), MAX_ERROR);
        assert_eq!(own_words("{}"), None);
        assert_eq!(own_words(""), None);
    }
}
