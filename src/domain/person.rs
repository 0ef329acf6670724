//! People as rules know them. An address or a token is configuration and not known here.

/// What a person may do in Placet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Decides on calls that they are asked about.
    Reviewer,
    /// Decides like a reviewer; also withdraws and settles calls, and reads everything.
    Admin,
    /// Reads everything, and decides nothing.
    Auditor,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Reviewer, Self::Admin, Self::Auditor];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reviewer => "reviewer",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }

    /// Whether they decide, where they are asked.
    pub const fn decides(self) -> bool {
        !matches!(self, Self::Auditor)
    }

    /// Whether they may read the audit log, and the approvals of sensitive rules.
    pub const fn reads_all(self) -> bool {
        !matches!(self, Self::Reviewer)
    }
}

/// A person as rules see them: a name, a role and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person<'a> {
    /// Their name.
    pub name: &'a str,
    /// What they may do.
    pub role: Role,
    /// Their groups.
    pub groups: &'a [String],
}

/// What a group's name begins with among a rule's reviewers.
pub const GROUP_PREFIX: &str = "group:";

impl<'a> Person<'a> {
    /// Somebody in no group.
    pub const fn new(name: &'a str, role: Role) -> Self {
        Self { name, role, groups: &[] }
    }

    /// Whether an entry of a rule's reviewers means them: their name, or a group of theirs.
    pub fn is_meant_by(self, entry: &str) -> bool {
        match entry.strip_prefix(GROUP_PREFIX) {
            Some(group) => self.groups.iter().any(|g| g == group),
            None => self.name == entry,
        }
    }
}
