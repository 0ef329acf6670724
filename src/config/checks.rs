//! What has to fit together: names, tokens, addresses, owners, and that every rule which asks
//! people can be answered by some.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use globset::Glob;
use url::{Host, Url};

use crate::domain::approval::Assurance;
use crate::domain::person::GROUP_PREFIX;
use crate::domain::policy::{self, Action, Rule};
use crate::domain::reviewers::assurance;

use super::policies::LoadedPolicy;
use super::problem::{Problem, Severity};
use super::reach::{can_sign_in, is_notified, passkey_domain};
use super::reader::{Environment, Reader};
use super::upstreams::Read;
use super::{Agent, Config, oidc, value};

mod limits;
mod people;
mod retention;

/// Checks everything that more than one entry takes part in.
pub(super) fn check(
    reader: &Reader<'_>,
    config: &Config,
    upstreams: &[Read],
    implicit_agent: bool,
) {
    duplicates(reader, "upstreams", config.upstreams.iter().map(|u| u.name.as_str()));
    duplicates(reader, "agents", config.agents.iter().map(|a| a.name.as_str()));
    duplicates(reader, "reviewers", config.reviewers.iter().map(|r| r.name.as_str()));
    tokens(reader, config);
    people::check(reader, config);
    loopback(reader, config, implicit_agent);
    if config.implicit_owner && !config.people.sign_in_link {
        reader.error(
            "people.sign_in_link",
            "is false, and there are no [[reviewers]]: the owner could not sign in; add a reviewer, \
             or leave it on",
        );
    }
    references(reader, config);
    oidc::check(reader, config);
    if config.upstreams.is_empty() {
        reader.warn("upstreams", "there are none: agents have nothing to call; add [[upstreams]]");
    }
    if let Some(reminder) = config.approvals.reminder
        && reminder >= config.approvals.timeout
    {
        reader.warn("approvals.reminder", "is not before the timeout: no reminder will be sent");
    }
    limits::check(reader, config, upstreams);
    retention::check(reader, &config.approvals);
    for read in upstreams {
        if let Some(policy) = &read.policy {
            rules(reader, config, &read.upstream.name, policy);
        } else if !read.has_policy {
            reader.warn(format!("{}.policy", read.path), "there is none: every call is denied");
        }
    }
}

/// What hinders these policies from being put in force in a program that runs with another
/// configuration: errors only.
pub(super) fn unfit_for(running: &Config, upstreams: &[Read]) -> Vec<Problem> {
    let nothing = Environment::new();
    let reader = Reader::new(String::new(), PathBuf::new(), &nothing);
    for read in upstreams.iter().filter(|read| running.upstream(&read.upstream.name).is_some()) {
        if let Some(policy) = &read.policy {
            rules(&reader, running, &read.upstream.name, policy);
        }
    }
    let errors = reader.finish().into_iter().filter(|p| p.severity == Severity::Error);
    let with_mend = |mut problem: Problem| {
        problem.message.push_str("; that is so with the agents, reviewers and notifiers that run now, which only a restart changes");
        problem
    };
    errors.map(with_mend).collect()
}

/// Notes an error for each name that stands twice in a list.
pub(super) fn duplicates<'n>(reader: &Reader<'_>, list: &str, all: impl Iterator<Item = &'n str>) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (i, name) in all.enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(other) = first.get(name) {
            let message = format!("{name:?} is also the name of {list}[{other}]; rename one");
            reader.error(format!("{list}[{i}].name"), message);
        } else {
            first.insert(name, i);
        }
    }
}

fn tokens(reader: &Reader<'_>, config: &Config) {
    let agents = config.agents.iter().map(|a| ("agents", a.token_sha256));
    let reviewers = config.reviewers.iter().map(|r| ("reviewers", r.token_sha256));
    let mut first: HashMap<[u8; 32], String> = HashMap::new();
    for (list, i, hash) in indexed(agents).chain(indexed(reviewers)) {
        let Some(hash) = hash else { continue };
        let path = format!("{list}[{i}]");
        if let Some(other) = first.get(&hash) {
            let message = format!(
                "is also the token of {other}; each needs its own (`placet token new` makes one)"
            );
            reader.error(format!("{path}.token"), message);
        } else {
            first.insert(hash, path);
        }
    }
}

fn indexed<L, H>(list: impl Iterator<Item = (L, H)>) -> impl Iterator<Item = (L, usize, H)> {
    list.enumerate().map(|(i, (name, hash))| (name, i, hash))
}

/// Why others than this machine's own can reach Placet; none where nothing says so.
fn reached_by_others(config: &Config) -> Option<String> {
    let server = &config.server;
    let foreign =
        |host: &&String| !Url::parse(&format!("http://{host}/")).is_ok_and(|u| is_local(&u));
    if !server.listen.ip().to_canonical().is_loopback() {
        Some(format!("server.listen, {}, is not loopback", server.listen))
    } else if !is_local(&server.public_url) {
        Some(format!("server.public_url, {}, leads here from elsewhere", server.public_url))
    } else if !server.trusted_proxies.is_empty() {
        Some("server.trusted_proxies names a proxy, which leads here from elsewhere".to_owned())
    } else {
        let foreign = server.allowed_hosts.iter().find(foreign);
        foreign.map(|host| format!("server.allowed_hosts names {host}, by which others come here"))
    }
}

/// Whether it is an address that leads each machine to itself.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    }
}

/// Where no token is needed, nobody but this machine's own may reach Placet: neither directly nor
/// through a proxy.
fn loopback(reader: &Reader<'_>, config: &Config, implicit_agent: bool) {
    let Some(why) = reached_by_others(config) else { return };
    if implicit_agent {
        reader.error(
            "agents",
            format!(
                "there are none, and {why}: anyone could call tools; add \
                 [[agents]] with a name and a token_sha256 (`placet token new`)"
            ),
        );
    }
    if config.implicit_owner {
        reader.error(
            "reviewers",
            format!(
                "there are none, and {why}: nobody could decide safely; add \
                 [[reviewers]] with a name and an email or a token_sha256 (`placet token new`)"
            ),
        );
    }
}

fn references(reader: &Reader<'_>, config: &Config) {
    for (i, agent) in config.agents.iter().enumerate() {
        if let Some(owner) = agent.owner.as_deref()
            && config.reviewer(owner).is_none()
        {
            let near = value::suggestion(owner, config.reviewers.iter().map(|r| r.name.as_str()));
            let message =
                format!("no reviewer is called {owner:?}{near}; add one to [[reviewers]]");
            reader.error(format!("agents[{i}].owner"), message);
        }
        for (j, name) in agent.upstreams.iter().flatten().enumerate() {
            if config.upstream(name).is_none() {
                let near =
                    value::suggestion(name, config.upstreams.iter().map(|u| u.name.as_str()));
                let message = format!("no upstream is called {name:?}{near}");
                reader.error(format!("agents[{i}].upstreams[{j}]"), message);
            }
        }
    }
}

/// Whether an agent may use an upstream.
fn may_use(agent: &Agent, upstream: &str) -> bool {
    agent.upstreams.as_ref().is_none_or(|names| names.iter().any(|n| n == upstream))
}

fn is_agent(entry: &str, name: &str) -> bool {
    entry == name || Glob::new(entry).is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

fn rules(reader: &Reader<'_>, config: &Config, upstream: &str, loaded: &LoadedPolicy) {
    let note = |severity, place: String, message: String| {
        let mut problem = [policy::Problem::new(&place, message, severity == Severity::Warning)];
        loaded.policy.locate(&mut problem);
        for problem in problem {
            reader.note(loaded.place.problem(problem));
        }
    };
    for (pointer, names) in &loaded.agents {
        for (i, entry) in names.iter().enumerate() {
            if !config.agents.iter().any(|a| is_agent(entry, &a.name)) {
                let near = value::suggestion(entry, config.agents.iter().map(|a| a.name.as_str()));
                let message = format!("no agent is called {entry:?}{near}");
                note(Severity::Warning, format!("{pointer}/agents/{i}"), message);
            }
        }
    }
    for rule in loaded.policy.rules() {
        for (place, message) in unknown_names(config, rule) {
            note(Severity::Error, place, message);
        }
        // Of several approvals each is looked at by itself.
        if rule.action != Action::RequireApproval || !rule.approvals.is_empty() {
            continue;
        }
        if let Some((place, message)) = retention::of_rule(&config.approvals, rule) {
            note(Severity::Error, place, message);
        }
        if assurance(&rule.approval, config.approvals.assurance) == Assurance::Passkey
            && passkey_domain(&config.server.public_url).is_none()
        {
            let message = format!(
                "asks for a passkey, and browsers have none for {}; set server.public_url to an \
                 https address with a name (or http://localhost)",
                config.server.public_url
            );
            note(Severity::Error, rule.pointer.clone(), message);
        }
        let only = loaded.agents.get(rule.counted_under());
        let agents = config.agents.iter().filter(|agent| {
            may_use(agent, upstream)
                && only.is_none_or(|names| names.iter().any(|n| is_agent(n, &agent.name)))
        });
        let mut findings: BTreeMap<Finding, Vec<&str>> = BTreeMap::new();
        for agent in agents {
            if let Some(finding) = answerable(config, rule, agent) {
                findings.entry(finding).or_default().push(&agent.name);
            }
        }
        for (finding, agents) in findings {
            let severity =
                if finding == Finding::Unnotified { Severity::Warning } else { Severity::Error };
            let message = format!("for agent {}: {}", agents.join(", "), finding.message(rule));
            note(severity, rule.pointer.clone(), message);
        }
    }
}

/// Why no agreement of reviewers can be reached on a rule, or nobody would hear of its calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    NobodyEligible,
    /// Too few people can approve for one part of a panel; the name of that part.
    PartTooSmall(String),
    QuorumTooLarge {
        eligible: usize,
    },
    NobodySignsIn,
    Unnotified,
}

impl Finding {
    fn message(self, rule: &Rule) -> String {
        match self {
            Self::PartTooSmall(part) => format!(
                "approval.reviewers asks for more approvals of {part} than can come together \
                 (auditors and the agent's owner can't approve, and nobody counts for two parts); \
                 lower its quorum or add reviewers"
            ),
            Self::NobodyEligible => "no eligible reviewer (auditors and the agent's owner can't \
                                     approve); add one to [[reviewers]] or to approval.reviewers"
                .to_owned(),
            Self::QuorumTooLarge { eligible } => format!(
                "approval.quorum is {}, but only {eligible} may approve (auditors and the agent's \
                 owner can't); lower it or add reviewers",
                quorum(rule)
            ),
            Self::NobodySignsIn => "too few of its eligible reviewers can sign in; give them a \
                                    token_sha256, or an email and an e-mail notifier"
                .to_owned(),
            Self::Unnotified => "no notifier reaches any of its eligible reviewers: they must \
                                 look at the queue by themselves; add [[notifiers]]"
                .to_owned(),
        }
    }
}

fn quorum(rule: &Rule) -> usize {
    rule.approval.quorum.unwrap_or(1).max(1) as usize
}

fn answerable(config: &Config, rule: &Rule, agent: &Agent) -> Option<Finding> {
    let asked = config.reviewers_of(rule, agent);
    let eligible = asked.eligible;
    let people = || eligible.iter().filter_map(|name| config.reviewer(name));
    if eligible.is_empty() {
        return Some(Finding::NobodyEligible);
    }
    let signs_in = |name: &&str| config.reviewer(name).is_some_and(|r| can_sign_in(config, r));
    if let Some(panel) = asked.panel {
        let all: Vec<&str> = eligible.iter().map(String::as_str).collect();
        if !panel.is_met_by(&all) {
            let short = panel.parts.iter().zip(panel.given(&all)).find(|(p, n)| *n < p.quorum);
            return short.map(|(part, _)| Finding::PartTooSmall(part.name.clone()));
        }
        let able: Vec<&str> = all.into_iter().filter(signs_in).collect();
        if !panel.is_met_by(&able) {
            return Some(Finding::NobodySignsIn);
        }
    } else if quorum(rule) > eligible.len() {
        return Some(Finding::QuorumTooLarge { eligible: eligible.len() });
    } else if eligible.iter().filter(|n| signs_in(&n.as_str())).count() < quorum(rule) {
        return Some(Finding::NobodySignsIn);
    }
    (!people().any(|r| is_notified(config, rule, r))).then_some(Finding::Unnotified)
}

/// A rule's reviewers, groups and notifiers that are not configured: where each stands, and a
/// message.
fn unknown_names(config: &Config, rule: &Rule) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let listed = rule.approval.reviewers.iter().flatten().enumerate();
    let listed = listed.map(|(i, entry)| (i.to_string(), entry));
    let joined = rule.approval.panel.iter().flat_map(|panel| {
        let parts = panel.parts.iter().enumerate();
        parts.map(|(i, (entry, _))| (format!("{}/{i}", panel.join.as_str()), entry))
    });
    for (i, entry) in listed.chain(joined) {
        if config.people().iter().any(|p| p.is_meant_by(entry)) {
            continue;
        }
        let message = if let Some(group) = entry.strip_prefix(GROUP_PREFIX) {
            let groups = config.reviewers.iter().flat_map(|r| &r.groups).map(String::as_str);
            let near = value::suggestion(group, groups);
            format!("no reviewer is in a group {group:?}{near}")
        } else {
            let known = config.reviewers.iter().map(|r| r.name.as_str());
            let near = value::suggestion(entry, known);
            format!("no reviewer is called {entry:?}{near}; groups are written group:NAME")
        };
        found.push((format!("{}/reviewers/{i}", rule.terms_pointer()), message));
    }
    for (i, entry) in rule.approval.notify.iter().flatten().enumerate() {
        if !config.notifiers.iter().any(|n| n.name == *entry) {
            let near = value::suggestion(entry, config.notifiers.iter().map(|n| n.name.as_str()));
            let message = format!("no notifier is called {entry:?}{near}");
            found.push((format!("{}/notify/{i}", rule.terms_pointer()), message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, rule};
    use crate::domain::approval::Join;
    use crate::domain::policy::AskedPanel;

    const PEOPLE: &str = r#"
        [[agents]]
        name = "ci"
        token = "aaaaaaaaaaaaaaaaaaaa"
        owner = "ana"
        [[reviewers]]
        name = "ana"
        token = "bbbbbbbbbbbbbbbbbbbb"
        [[reviewers]]
        name = "ben"
        token = "cccccccccccccccccccc"
        groups = ["oncall"]
        [[reviewers]]
        name = "cleo"
        email = "cleo@example.org"
    "#;

    fn finding(reviewers: &[&str], quorum: u32, more: &str) -> Option<Finding> {
        let config = config(&format!("{PEOPLE}{more}"));
        let mut rule = rule("/tools/x");
        rule.approval.reviewers = Some(reviewers.iter().map(ToString::to_string).collect());
        rule.approval.quorum = Some(quorum);
        answerable(&config, &rule, config.agent("ci").unwrap())
    }

    const MAIL: &str = "[[notifiers]]\nname = \"mail\"\nkind = \"email\"\n\
                        smtp_url = \"smtp://127.0.0.1:25\"\nfrom = \"a@example.org\"\n";

    #[test]
    fn a_rule_that_only_the_owner_could_approve_has_nobody() {
        assert_eq!(finding(&["ana"], 1, MAIL), Some(Finding::NobodyEligible));
    }

    #[test]
    fn a_quorum_beyond_the_eligible_is_found_without_counting_the_owner() {
        assert_eq!(
            finding(&["ana", "ben"], 2, MAIL),
            Some(Finding::QuorumTooLarge { eligible: 1 })
        );
    }

    #[test]
    fn somebody_must_be_able_to_sign_in_and_should_be_told() {
        assert_eq!(finding(&["cleo"], 1, ""), Some(Finding::NobodySignsIn));
        assert_eq!(finding(&["cleo"], 1, MAIL), None);
        assert_eq!(finding(&["group:oncall"], 1, MAIL), Some(Finding::Unnotified));
        assert_eq!(finding(&["cleo", "ben"], 2, MAIL), None);
    }

    #[test]
    fn joined_reviewers_must_be_able_to_come_together() {
        let joined = |join, parts: &[(&str, u32)], more: &str| {
            let config = config(&format!("{PEOPLE}{more}"));
            let mut rule = rule("/tools/x");
            let parts = parts.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
            rule.approval.panel = Some(AskedPanel { join, parts });
            let found = answerable(&config, &rule, config.agent("ci").unwrap());
            let unknown: Vec<String> =
                unknown_names(&config, &rule).into_iter().map(|(place, _)| place).collect();
            (found, unknown)
        };
        let short = |part: &str| Some(Finding::PartTooSmall(part.to_owned()));

        assert_eq!(joined(Join::All, &[("group:oncall", 1), ("cleo", 1)], MAIL), (None, vec![]));
        assert_eq!(joined(Join::All, &[("group:oncall", 2)], MAIL).0, short("group:oncall"));
        assert_eq!(
            joined(Join::All, &[("ben", 1), ("group:oncall", 1)], MAIL).0,
            short("group:oncall"),
            "ben alone is not two"
        );
        assert_eq!(joined(Join::Any, &[("group:oncall", 2), ("cleo", 1)], MAIL).0, None);
        assert_eq!(
            joined(Join::All, &[("ben", 1), ("cleo", 1)], "").0,
            Some(Finding::NobodySignsIn)
        );
        assert_eq!(
            joined(Join::Any, &[("group:onkall", 1), ("cleo", 1)], MAIL).1,
            ["/tools/x/approval/reviewers/any/0"]
        );
    }

    #[test]
    fn unknown_reviewers_groups_and_notifiers_are_named_with_their_places() {
        let config = config(PEOPLE);
        let mut rule = rule("/match/3");
        rule.approval.reviewers = Some(vec!["bem".into(), "group:onkall".into(), "ana".into()]);
        rule.approval.notify = Some(vec!["mail".into()]);

        let found = unknown_names(&config, &rule);

        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(
            places,
            [
                "/match/3/approval/reviewers/0",
                "/match/3/approval/reviewers/1",
                "/match/3/approval/notify/0"
            ]
        );
        assert!(found[0].1.contains("did you mean ben?"));
        assert!(found[1].1.contains("did you mean oncall?"));
    }

    #[test]
    fn the_owner_who_stands_in_has_a_link_to_sign_in_with() {
        let config = config("");

        assert_eq!(
            answerable(&config, &rule("/tools/x"), &config.agents[0]),
            Some(Finding::Unnotified)
        );
    }
}
