//! States (`requestState`) that travel through a client, sealed with HMAC-SHA256
//! (<https://www.rfc-editor.org/rfc/rfc2104#section-2>) so that it can't make or change one.
//!
//! An upstream that answers an approved call with `input_required` hands out a `requestState`.
//! It goes to the agent sealed with approval, agent and digest; one retry that carries it passes
//! without asking. Everything else that claims to continue a gated call is refused. The other kind
//! of seal only says what a call waits for ([`super::url_elicitation`]), and proves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::domain::approval::ApprovalId;
use crate::domain::call::{Digest, Method, ToolCall, hex};
use crate::domain::json::{self, Node, edit};
use crate::domain::time::Timestamp;
use crate::store::{LimitKey, StoreError};

use super::answer::{Code, Statement};
use super::asking::Asking;
use super::permit::Continues;
use super::refusals::{unavailable_upstream, uncertain};
use crate::broker::Broker;

/// Longest life of a seal. The store forgets that one was used a day later.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// What a seal is for. A seal for one purpose never passes for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Purpose {
    /// The call was approved, and this is a further round of it.
    Proof,
    /// The call waits for an approval.
    Wait,
}

impl Purpose {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Proof => "placet1.",
            Self::Wait => "placet1w.",
        }
    }

    /// What is signed before the body, which is a JSON object.
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Proof => b"",
            Self::Wait => b"wait:",
        }
    }
}

/// What the check of a call's `requestState` and `inputResponses` finds.
pub(in crate::broker) enum Check {
    /// The call has neither.
    None,
    /// A valid seal, used for the first time.
    Passes {
        /// The call with the upstream's own state.
        call: ToolCall,
        /// What it continues.
        continues: Continues,
    },
    /// The seal is missing or not valid, for this reason.
    Invalid(String),
    /// The seal is valid, but the call may not go on, or not now; the seal is not used up.
    Refused(Box<Statement>),
    /// The store can't tell now whether it was used.
    Unavailable,
}

/// Puts the seal on the `requestState` of an upstream's `input_required` result.
pub(in crate::broker) fn seal(
    broker: &Broker,
    continues: &Continues,
    agent: &str,
    digest: &Digest,
    result: &str,
) -> String {
    let Ok(node) = json::parse(result) else { return result.to_owned() };
    if node.get("resultType").and_then(Node::as_str) != Some("input_required") {
        return result.to_owned();
    }
    let state = node.get("requestState").and_then(Node::as_str);
    let nonce = hex(&broker.ids().random()[..16]);
    let expires =
        broker.now().plus(broker.config().approvals.result_retention.min(LONGEST)).micros();
    let body = json::object([
        ("approval", json::quote(&continues.approval).as_str()),
        ("grant", &continues.grant.as_deref().map_or("null".to_owned(), json::quote)),
        ("agent", &json::quote(agent)),
        ("digest", &json::quote(digest.as_str())),
        ("nonce", &json::quote(&nonce)),
        ("expires", &expires.to_string()),
        ("state", &state.map_or("null".to_owned(), json::quote)),
    ]);
    let sealed = closed(&broker.inner.seal_key, Purpose::Proof, &body);
    let rest = edit::without(result, &["requestState"]);
    edit::with(&rest, &[("requestState", json::quote(&sealed))])
}

/// Checks the seal of a call that claims to continue one, and uses it up.
pub(in crate::broker) async fn check(broker: &Broker, asking: &Asking, now: Timestamp) -> Check {
    let Ok(params) = json::parse(&asking.call.params) else { return Check::None };
    let (state, responses) = (params.get("requestState"), params.get("inputResponses"));
    if state.is_none() && responses.is_none() {
        return Check::None;
    }
    let refuse = |why: &str| {
        Check::Invalid(format!(
            "requestState: {why}; call {} without requestState and inputResponses",
            asking.call.title()
        ))
    };
    let Some(sealed) = state.and_then(Node::as_str) else {
        return refuse("this call needs approval and carries no state of an approved one");
    };
    let Some(body) = open(&broker.inner.seal_key, Purpose::Proof, sealed) else {
        return refuse("it was not made by this broker");
    };
    let Ok(seal) = json::parse(&body) else { return refuse("it can't be read") };
    let field = |key| seal.get(key).and_then(Node::as_str).unwrap_or_default();
    let expires = seal.get("expires").and_then(Node::as_number).and_then(|n| n.parse().ok());
    if field("agent") != asking.agent.name || field("digest") != asking.call.digest.as_str() {
        return refuse("it belongs to another call");
    }
    if expires.is_none_or(|at| Timestamp::from_micros(at) <= now) {
        return refuse("it has expired");
    }
    let continues = Continues {
        approval: field("approval").to_owned(),
        grant: seal.get("grant").and_then(Node::as_str).map(str::to_owned),
    };
    match broker.further_round(&continues).await {
        Round::Goes => {}
        Round::Refused(said) => return Check::Refused(said),
        Round::NotKept => return refuse("the approval that it continues is no longer kept"),
    }
    // Once, on any broker: the store counts.
    let key = LimitKey::Seal(field("nonce").to_owned());
    match broker.store().limits().take(&key, 1, Timestamp::from_micros(0), now).await {
        Ok(None) => {}
        Ok(Some(_)) => return refuse("it was used before"),
        Err(error) => {
            tracing::error!(%error, "a continued call could not be checked");
            return Check::Unavailable;
        }
    }
    let own = seal.get("state").and_then(Node::as_str).map(json::quote);
    let params = match own {
        Some(own) => params.with(&[("requestState", own)]),
        None => params.keep_members(|key| key != "requestState"),
    };
    let call = ToolCall { params: params.into(), ..asking.call.clone() };
    Check::Passes { call, continues }
}

/// What becomes of a further round.
enum Round {
    Goes,
    /// It may not go on, or not now.
    Refused(Box<Statement>),
    /// Nothing is known any more of the approval, and never will be.
    NotKept,
}

impl Broker {
    /// Whether an approved call may go on with a further round. It is judged as its claim was: by the
    /// people, the policy, the tool and the address of now; and by the grant, where that let it
    /// through.
    async fn further_round(&self, continues: &Continues) -> Round {
        let judged = async {
            let approval = match ApprovalId::parse(&continues.approval) {
                Some(id) => self.get(&id).await?,
                None => None,
            };
            let Some(approval) = approval else { return Ok(Round::NotKept) };
            if approval.call.method == Method::CallTool
                && let Err(error) = self.list_tools(&approval.call.upstream).await
            {
                tracing::warn!(approval.id = %approval.id, "a further round waits: {error}");
                let wait = unavailable_upstream(&approval.call.upstream);
                return Ok(Round::Refused(Box::new(wait)));
            }
            let config = self.confirmed().await?;
            let mut hinders = self.obstacle(&approval, &config);
            if let (None, Some(grant)) = (&hinders, &continues.grant) {
                hinders = self.no_longer_granted(grant, &config).await?;
            }
            let Some(reason) = hinders else { return Ok(Round::Goes) };
            let call = approval.call.title();
            let text = format!(
                "Not executed. This is a further round of {call}, which was approved ({}), and it \
                 is {reason}. Call {call} anew, without requestState and inputResponses.",
                approval.id,
            );
            let said = Statement::about(&approval, Code::ApprovalCancelled, &text);
            Ok::<_, StoreError>(Round::Refused(Box::new(said.because(Some(reason)))))
        };
        judged.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a further round could not be judged");
            Round::Refused(Box::new(uncertain()))
        })
    }
}

/// Seals a JSON object.
pub(in crate::broker) fn closed(key: &[u8; 32], purpose: Purpose, body: &str) -> String {
    format!(
        "{}{}.{}",
        purpose.prefix(),
        URL_SAFE_NO_PAD.encode(body),
        URL_SAFE_NO_PAD.encode(signed(key, purpose, body.as_bytes()).finalize().into_bytes())
    )
}

/// The JSON object in a seal of this purpose; none if it was not made with this key.
pub(in crate::broker) fn open(key: &[u8; 32], purpose: Purpose, sealed: &str) -> Option<String> {
    let (body, sent) = sealed.strip_prefix(purpose.prefix())?.split_once('.')?;
    let body = URL_SAFE_NO_PAD.decode(body).ok()?;
    let sent = URL_SAFE_NO_PAD.decode(sent).ok()?;
    signed(key, purpose, &body).verify_slice(&sent).ok()?;
    String::from_utf8(body).ok()
}

fn signed(key: &[u8; 32], purpose: Purpose, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(purpose.domain());
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_seal_opens_for_its_own_purpose_and_key_only() {
        let sealed = closed(&KEY, Purpose::Wait, "{\"n\":1}");

        assert_eq!(open(&KEY, Purpose::Wait, &sealed).as_deref(), Some("{\"n\":1}"));
        assert_eq!(open(&[8; 32], Purpose::Wait, &sealed), None);
        let (_, rest) = sealed.split_once('.').unwrap();
        assert_eq!(open(&KEY, Purpose::Proof, &format!("placet1.{rest}")), None, "relabelled");
        assert_eq!(open(&KEY, Purpose::Proof, &sealed), None);
        let (body, tag) = rest.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode("{\"n\":2}");
        assert_eq!(open(&KEY, Purpose::Wait, &format!("placet1w.{other}.{tag}")), None);
        assert_eq!(open(&KEY, Purpose::Wait, &format!("placet1w.{body}")), None);
    }
}
