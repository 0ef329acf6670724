//! What servers may ask of the client of an agent.

use crate::config::Agent;
use crate::domain::approval::Approval;
use crate::domain::call::ToolCall;
use crate::domain::client_feature::ClientFeature;
use crate::upstream::{Caller, ClientCapabilities};

use super::Broker;

impl Broker {
    /// Of a client that declared these capabilities (raw JSON): what its agent lets pass; each
    /// upstream cuts them down to what it may ask. `live`: it can be asked while a request runs.
    pub fn features(&self, agent: &Agent, capabilities: &str, live: bool) -> ClientCapabilities {
        let allowed = agent.client_features.as_deref().unwrap_or(&ClientFeature::ALL);
        ClientCapabilities::declared(capabilities, allowed, live)
    }

    /// What a modern upstream is told that the client of this caller offers, raw JSON.
    pub(super) fn offered(&self, caller: &Caller, call: &ToolCall) -> String {
        let upstream = self.config().upstream(&call.upstream);
        let allowed = upstream.map(|u| u.client_features.as_slice()).unwrap_or_default();
        caller.features.within(allowed).to_json()
    }

    /// Who executes an approval that no request is attached to: the connection of the session it
    /// was asked in, as long as that session is known.
    pub(crate) async fn caller_without_request(
        &self,
        approval: &Approval,
        session: Option<&str>,
    ) -> Caller {
        let caller = Caller::new(&approval.agent, session);
        let (Some(id), Some(agent)) = (session, self.config().agent(&approval.agent)) else {
            return caller;
        };
        let Ok(Some(session)) = self.known_client_session(id).await else {
            return caller;
        };
        let features = self.features(agent, &session.capabilities, true);
        Caller { features, ..caller }
    }
}
