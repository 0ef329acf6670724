//! `[[agents]]` and `[[reviewers]]`: who calls and who decides.

use lettre::Address;

use super::reader::{Section, Show};
use super::sections::required_name;
use super::upstreams::client_features;
use super::{Agent, Reviewer, Role, secret, value};

/// Name of the anonymous agent where none is configured.
pub(crate) const LOCAL_AGENT: &str = "local";

/// Name of the reviewer where none is configured.
pub(crate) const OWNER: &str = "owner";

/// Reads one agent.
pub(crate) fn agent(s: &Section<'_>) -> Agent {
    let name = required_name(s, value::name).unwrap_or_default();
    if !secret::TOKEN.is_given(s) && !s.is_given("token_sha256") {
        s.reader.error(
            s.at("token_sha256"),
            "is missing; give token_sha256, token, token_env or token_file (`placet token new` \
             makes a token)",
        );
    }
    let agent = Agent {
        name,
        token_sha256: secret::read_token(s),
        upstreams: s.list("upstreams", value::upstream_name),
        owner: s.text("owner"),
        hold: s.duration("hold"),
        hold_with_progress: s.duration("hold_with_progress"),
        withdraw_on_disconnect: s
            .word("on_disconnect", &[("keep", false), ("withdraw", true)])
            .unwrap_or(false),
        wait_tool: s.flag("wait_tool").unwrap_or(false),
        url_elicitation: s.flag("url_elicitation").unwrap_or(true),
        client_features: client_features(s),
    };
    s.finish();
    agent
}

/// The agent that stands in where none is configured.
pub(crate) fn local_agent() -> Agent {
    Agent {
        name: LOCAL_AGENT.to_owned(),
        token_sha256: None,
        upstreams: None,
        owner: None,
        hold: None,
        hold_with_progress: None,
        withdraw_on_disconnect: false,
        wait_tool: false,
        url_elicitation: true,
        client_features: None,
    }
}

/// Reads one reviewer.
pub(crate) fn reviewer(s: &Section<'_>) -> Reviewer {
    let name = required_name(s, value::name).unwrap_or_default();
    let roles = [("reviewer", Role::Reviewer), ("admin", Role::Admin), ("auditor", Role::Auditor)];
    let reviewer = Reviewer {
        name,
        email: s.parsed("email", Show::Value, address),
        groups: s.list("groups", value::name).unwrap_or_default(),
        role: s.word("role", &roles).unwrap_or(Role::Reviewer),
        token_sha256: secret::read_token(s),
    };
    s.finish();
    reviewer
}

/// The reviewer who stands in where none is configured.
pub(crate) fn owner() -> Reviewer {
    Reviewer {
        name: OWNER.to_owned(),
        email: None,
        groups: Vec::new(),
        role: Role::Admin,
        token_sha256: None,
    }
}

/// Reads a bare mail address, without a display name.
///
/// # Errors
/// A sentence that says what is expected, where the text is not such an address.
pub(crate) fn address(text: &str) -> Result<String, String> {
    text.parse::<Address>()
        .map(|_| text.to_owned())
        .map_err(|_| "expected a mail address, as in ana@example.org".to_owned())
}
