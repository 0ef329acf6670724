//! A policy drafted from an upstream's tools, for a person to read, change and sign.
//!
//! What reads runs within a limit, what writes within a smaller one, and whatever executes, destroys
//! or moves money is asked about. Where one argument decides how grave a call is, calls run unasked
//! only with values that are certainly milder; any other value, and none, asks. Each rule says in its
//! `reason` what speaks for it. The same tools make the same text, in whatever order they come.

use std::fmt::Write as _;

use super::misfits::Listed;
use super::{Match, Policy, Problem, fits, read_parts::MAX_NAME};
use crate::domain::classify::{self, Classified, Evidence, Flip, Place};
use crate::domain::json::{self, Node};
use crate::domain::risk::RiskClass;
use crate::domain::visible_text::Eye;

/// Most calls of a tool that reads, and within how many seconds.
const READS: (u32, u32) = (60, 60);
/// Most calls of a tool that writes, and within how many seconds.
const WRITES: (u32, u32) = (30, 3600);

/// A tool of the upstream's list.
#[derive(Debug, Clone, Copy)]
pub struct ListedTool<'t> {
    /// Its name.
    pub name: &'t str,
    /// Its whole definition, raw JSON.
    pub definition: &'t str,
    /// What harm its calls could do.
    pub risk: &'t Classified,
}

/// A drafted policy, and what to tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The policy, JSON text.
    pub text: String,
    /// The tools that got an entry, in the order of the entries.
    pub added: Vec<String>,
    /// The tools that got none, each with why.
    pub left: Vec<(String, String)>,
    /// What of the policy that was there fits nothing of the list, as [`Policy::misfits`].
    pub misfits: Vec<Problem>,
}

/// Drafts a policy for an upstream of that name with these tools.
pub fn draft(upstream: &str, tools: &[ListedTool<'_>]) -> Draft {
    let description = quote(&description(upstream, tools));
    let text = format!(
        "{{\n  \"version\": \"1\",\n  \"description\": {description},\n  \"default\": \"deny\",\n  \
         \"tools\": {{}}\n}}\n"
    );
    let mut draft = Draft { text, added: Vec::new(), left: Vec::new(), misfits: Vec::new() };
    draft.add(sorted(tools));
    draft
}

/// Adds to a policy an entry for each tool that nothing in it is about. Whatever stands there stays
/// byte for byte.
///
/// # Errors
/// What is wrong with the policy, as [`Policy::read`].
pub fn update(text: &str, tools: &[ListedTool<'_>]) -> Result<Draft, Vec<Problem>> {
    let (policy, _) = Policy::read(text)?;
    let listed = tools.iter().map(|t| Listed { name: t.name, definition: t.definition });
    let listed: Vec<Listed<'_>> = listed.collect();
    let mut draft = Draft {
        text: text.to_owned(),
        added: Vec::new(),
        left: Vec::new(),
        misfits: policy.misfits(&listed),
    };
    let mut unknown = Vec::new();
    for tool in sorted(tools) {
        if policy.by_name.contains_key(tool.name) {
            continue;
        }
        let decides = |m: &&Match| {
            fits(m.tools.as_deref(), tool.name)
                && m.risk.as_ref().is_none_or(|classes| classes.contains(&tool.risk.class))
        };
        if let Some((i, _)) = policy.hidden_by(tool.name) {
            draft.left.push((tool.name.to_owned(), format!("/hide/{i} hides it")));
        } else if let Some(entry) = policy.matches.iter().find(decides) {
            let why = format!("{} is about it", entry.rule.pointer);
            draft.left.push((tool.name.to_owned(), why));
        } else {
            unknown.push(tool);
        }
    }
    draft.add(unknown);
    Ok(draft)
}

/// The gravest first, then by name.
fn sorted<'t, 'l>(tools: &'l [ListedTool<'t>]) -> Vec<&'l ListedTool<'t>> {
    let mut sorted: Vec<_> = tools.iter().collect();
    sorted.sort_by_key(|t| (std::cmp::Reverse((t.risk.class, t.risk.severity)), t.name));
    sorted
}

fn description(upstream: &str, tools: &[ListedTool<'_>]) -> String {
    let count = |class| tools.iter().filter(|t| t.risk.class == class).count();
    let counts: Vec<String> = RiskClass::ALL
        .into_iter()
        .filter(|class| count(*class) > 0)
        .map(|class| format!("{} {}", count(class), class.as_str()))
        .collect();
    let counts =
        if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
    format!(
        "Drafted from the tools that {upstream} listed: {}{counts}. What reads may run {} times a \
         minute and what writes {} times an hour in each session; what executes, destroys or moves \
         money is asked about. A tool that is not here is denied; prompts and resources pass. Each \
         reason quotes what speaks for its class: read it before you sign.",
        tools.len(),
        READS.0,
        WRITES.0,
    )
}

impl Draft {
    /// Writes an entry for each of the tools behind those that are there.
    fn add(&mut self, tools: Vec<&ListedTool<'_>>) {
        let mut entries = Vec::new();
        for tool in tools {
            if let Some(why) = unnameable(tool.name) {
                self.left.push((tool.name.to_owned(), why));
            } else {
                self.added.push(tool.name.to_owned());
                entries.push((quote(tool.name), rule(tool)));
            }
        }
        if !entries.is_empty() {
            self.text = with_tools(&self.text, &entries);
        }
    }
}

/// Why a tool of this name can have no entry; the default decides it then.
fn unnameable(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        Some("its name is empty, so the default decides it".to_owned())
    } else if name.len() > MAX_NAME {
        Some(format!("its name has more than {MAX_NAME} bytes, so the default decides it"))
    } else if name.contains(['*', '?']) {
        Some("its name has a wildcard, so the default decides it".to_owned())
    } else {
        None
    }
}

/// The keys of a rule, each with its value, raw JSON.
type Keys = Vec<(&'static str, String)>;

fn rule(tool: &ListedTool<'_>) -> Keys {
    let own = tool.risk;
    let graver = own.flips.iter().filter(|flip| is_asked(flip.class)).map(|flip| flip.class).max();
    let Some(asked) = Some(own.class).filter(|class| is_asked(*class)).max(graver) else {
        return vec![
            ("action", quote("allow")),
            ("rate_limit", limit(own.class)),
            ("reason", quote(&reason(own, ""))),
        ];
    };
    let severity =
        if asked > own.class { own.severity.max(asked.usual_severity()) } else { own.severity };
    let unasked = unasked(tool);
    let mut words = String::new();
    for flip in own.flips.iter().filter(|flip| flip.class > own.class && is_asked(flip.class)) {
        let (path, values) = (&flip.path, flip.values.join(", "));
        let _ = write!(words, " It is {} where {path} is {values}.", flip.class.as_str());
    }
    words.push_str(unasked.as_ref().map_or("", |unasked| unasked.words.as_str()));
    let mut keys = vec![
        ("action", quote("require_approval")),
        ("risk", quote(asked.as_str())),
        ("severity", quote(severity.as_str())),
        ("reason", quote(&reason(own, &words))),
    ];
    if let Some(unasked) = unasked {
        keys.push(("rate_limit", limit(unasked.class)));
        keys.push(("approval", format!("{{ \"when\": [{}] }}", unasked.when.join(", "))));
    }
    keys
}

fn is_asked(class: RiskClass) -> bool {
    class > RiskClass::Write
}

fn limit(class: RiskClass) -> String {
    let (max, window) = if class == RiskClass::Read { READS } else { WRITES };
    format!("{{ \"max\": {max}, \"window\": {window} }}")
}

fn reason(own: &Classified, more: &str) -> String {
    let mut word = own.class.as_str().to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("{word}, {}: {}.{more}", own.severity.as_str(), own.why())
}

/// The calls of a tool that run without a question.
struct Unasked {
    /// Conditions, raw JSON, that hold for all other calls.
    when: Vec<String>,
    /// What these calls are at most.
    class: RiskClass,
    words: String,
}

/// The calls that are certainly milder, where one argument alone decides.
fn unasked(tool: &ListedTool<'_>) -> Option<Unasked> {
    let graver = || tool.risk.flips.iter().filter(|flip| is_asked(flip.class));
    let path = &graver().next()?.path;
    if graver().any(|flip| flip.path != *path) {
        return None;
    }
    let key = path.strip_prefix("args.")?;
    let tool_node = json::parse(tool.definition).ok()?;
    let properties = tool_node.get("inputSchema")?.get("properties")?;
    let property = properties.get(key)?;
    let path = path_of(key);
    match property.get("type").and_then(Node::as_str) {
        Some("boolean") => set_or_not(tool.risk, property, &path),
        Some("string") | None => one_of_several(tool.risk, property, key, &path),
        Some(_) => None,
    }
}

/// The path of an argument in a condition.
fn path_of(key: &str) -> String {
    if key.is_empty() || key == "*" || key.contains(['.', '[', ']']) {
        format!("args[{}]", json::quote(key))
    } else {
        format!("args.{key}")
    }
}

/// A tool that writes, or destroys with this argument set: `force`.
fn set_or_not(own: &Classified, property: &Node<'_>, path: &str) -> Option<Unasked> {
    if is_asked(own.class) {
        return None;
    }
    let condition = |op: &str| {
        format!("{{ \"path\": {}, \"op\": \"{op}\", \"value\": {} }}", quote(path), op == "exists")
    };
    // Where nobody says what happens without the argument, a call without it is asked about.
    let is_off = property.get("default").and_then(Node::as_bool) == Some(false);
    let (when, absent) = if is_off {
        (vec![condition("exists"), condition("neq")], " or absent")
    } else {
        (vec![condition("neq")], "")
    };
    let words = format!(" Runs unasked only where {path} is false{absent}.");
    Some(Unasked { when, class: own.class, words })
}

/// A tool whose argument says what is done: `operation`.
fn one_of_several(own: &Classified, property: &Node<'_>, key: &str, path: &str) -> Option<Unasked> {
    let mut values = classify::values_of(property);
    // Whoever read the tool knows better than the word does.
    let known = own.flips.iter().filter(|flip| own.is_known && is_of(flip, key));
    for (class, raw) in known.flat_map(|flip| flip.values.iter().map(|raw| (flip.class, raw))) {
        values.retain(|(_, other)| other != raw);
        values.push((class, raw.clone()));
    }
    let (graver, milder): (Vec<_>, Vec<_>) = values.iter().partition(|(class, _)| is_asked(*class));
    let is_explained = |evidence: &Evidence| match evidence.place {
        Place::Schema => evidence.quote == key,
        Place::Description => graver.iter().any(|(_, raw)| names_the_same(&evidence.quote, raw)),
        // Those who wrote the catalogue named the values with which it is so.
        Place::Catalogue => {
            own.flips.iter().any(|flip| is_of(flip, key) && flip.class == evidence.class)
        }
        // It may mean what is written over as well.
        Place::Annotations => evidence.class == RiskClass::Destructive,
        Place::Name | Place::Title | Place::Nothing => false,
    };
    let mut hinted = false;
    for evidence in own.evidence.iter().filter(|evidence| is_asked(evidence.class)) {
        hinted |= evidence.place == Place::Annotations;
        if !is_explained(evidence) {
            return None;
        }
    }
    let mut runs: Vec<(RiskClass, &str)> = Vec::new();
    for (class, raw) in milder {
        if hinted && *class != RiskClass::Read {
            continue;
        }
        // A description writes a value at the head of a sentence, too.
        match runs.iter_mut().find(|(_, other)| other.eq_ignore_ascii_case(raw)) {
            Some((_, other)) if raw.to_lowercase() == *raw => *other = raw,
            Some(_) => {}
            None => runs.push((*class, raw)),
        }
    }
    let class = runs.iter().map(|(class, _)| *class).max()?;
    let raw: Vec<String> = runs.iter().map(|(_, raw)| requoted(raw)).collect();
    let list = raw.join(", ");
    let when = format!("{{ \"path\": {}, \"op\": \"not_in\", \"value\": [{list}] }}", quote(path));
    let words = format!(" Runs unasked only where {path} is one of {list}.");
    Some(Unasked { when: vec![when], class, words })
}

/// Whether it is this argument that a flip is about.
fn is_of(flip: &Flip, key: &str) -> bool {
    flip.path.strip_prefix("args.") == Some(key)
}

fn requoted(raw: &str) -> String {
    let node = json::parse(raw).ok();
    node.as_ref().and_then(Node::as_str).map_or_else(|| raw.to_owned(), quote)
}

/// Whether a quoted word is one of the value's, in whatever form: `deletes`, `deleting`.
fn names_the_same(word: &str, raw: &str) -> bool {
    let word = word.to_lowercase();
    let raw = raw.to_lowercase();
    raw.split(|c: char| !c.is_alphanumeric()).any(|part| {
        let alike = part.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
        let (length, whole) = (part.chars().count(), word.chars().count());
        alike >= 3 && alike + 1 >= length && whole <= length + 3
    })
}

/// A JSON string in which every character that can't be seen is an escape.
fn quote(text: &str) -> String {
    let mut eye = Eye::default();
    let mut out = String::from("\"");
    for c in text.chars() {
        if eye.sees(c) || c < ' ' {
            let one = json::quote(c.encode_utf8(&mut [0; 4]));
            out.push_str(&one[1..one.len() - 1]);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('"');
    out
}

/// The policy with more entries at the end of its `tools`; no other byte differs.
fn with_tools(text: &str, entries: &[(String, Keys)]) -> String {
    let Ok(root) = json::parse(text) else { return text.to_owned() };
    let line = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let written = |indent: &str| -> Vec<String> {
        entries.iter().map(|(name, keys)| entry(name, keys, indent, line)).collect()
    };
    let Some(tools) = root.get("tools") else {
        let outer = indent_of(text, &root).unwrap_or("  ");
        let all = written(&outer.repeat(2)).join(&format!(",{line}"));
        let tools = format!("\"tools\": {{{line}{all}{line}{outer}}}");
        return with_members(text, &root, &[format!("{outer}{tools}")], line, "");
    };
    let outer = indent_of(text, &root).unwrap_or("  ");
    let deeper = outer.repeat(2);
    let inner = indent_of(text, tools).unwrap_or(&deeper);
    with_members(text, tools, &written(inner), line, outer)
}

/// The white space before the last member of an object, where that stands on a line of its own.
fn indent_of<'t>(text: &'t str, object: &Node<'_>) -> Option<&'t str> {
    let last = object.members()?.last()?;
    let before = &text[..offset(text, last.raw_key)];
    let indent = &before[before.rfind('\n')? + 1..];
    indent.trim().is_empty().then_some(indent)
}

/// The text with members, each one or more whole lines, behind those of an object in it.
fn with_members(
    text: &str,
    object: &Node<'_>,
    members: &[String],
    line: &str,
    outer: &str,
) -> String {
    let all = members.join(&format!(",{line}"));
    let last = object.members().unwrap_or_default().last();
    let (at, comma) = last.map_or_else(
        || (offset(text, object.raw) + 1, ""),
        |last| (offset(text, last.node.raw) + last.node.raw.len(), ","),
    );
    let (before, after) = text.split_at(at);
    // `{ "a": 1 }` on one line ends on a line of its own then.
    let ends = after.trim_start_matches([' ', '\t']);
    let end = if ends.starts_with('}') { format!("{line}{outer}") } else { String::new() };
    format!("{before}{comma}{line}{all}{end}{after}")
}

/// Where a slice of the text begins in it, bytes.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

fn entry(name: &str, keys: &Keys, indent: &str, line: &str) -> String {
    let step = if indent.contains('\t') { "\t" } else { "  " };
    let keys: Vec<String> =
        keys.iter().map(|(key, value)| format!("{indent}{step}\"{key}\": {value}")).collect();
    let keys = keys.join(&format!(",{line}"));
    format!("{indent}{name}: {{{line}{keys}{line}{indent}}}")
}
