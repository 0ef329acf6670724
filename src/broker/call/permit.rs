//! The proof that a call may go upstream, without which nothing is sent.

use std::sync::Arc;

use crate::domain::approval::Approval;
use crate::domain::call::ToolCall;

use super::counting::Counted;

/// Proof that this very call may go upstream: minted by an allowing rule, or by a claim.
#[derive(Debug)]
pub struct Permit {
    pub(in crate::broker) call: ToolCall,
    pub(in crate::broker) once: bool,
    /// What it is a further round of, or lets it through.
    pub(in crate::broker) continues: Option<Continues>,
    /// What it took of its rule's limits; given back where this is dropped.
    pub(in crate::broker) counted: Option<Box<Counted>>,
}

/// What a call that was not asked about itself rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct Continues {
    /// Id of the approval.
    pub(in crate::broker) approval: String,
    /// Id of the grant with it, where that covers the call.
    pub(in crate::broker) grant: Option<String>,
}

/// Mints permits for further rounds of an allowed call, in which the server gets the input it
/// asked for: nothing else of the call differs.
#[derive(Debug, Clone)]
pub struct Renewal {
    call: ToolCall,
}

impl Renewal {
    /// A permit for a further round with these `params`; none if they make another call.
    pub fn permit(&self, params: &Arc<str>) -> Option<Permit> {
        let call = ToolCall::read_shared(self.call.method, &self.call.upstream, params).ok()?;
        (call.digest == self.call.digest).then(|| Permit::allowed(call))
    }
}

impl Permit {
    /// For a call that the policy allows.
    pub(in crate::broker) fn allowed(call: ToolCall) -> Self {
        Self { call, once: false, continues: None, counted: None }
    }

    /// For a call that continues one that was approved, or that a grant covers.
    pub(in crate::broker) fn resumed(call: ToolCall, continues: Continues) -> Self {
        Self { call, once: true, continues: Some(continues), counted: None }
    }

    /// The same, with what the call took of its rule's limits.
    #[must_use]
    pub(in crate::broker) fn counting(mut self, counted: Option<Counted>) -> Self {
        self.counted = counted.map(Box::new);
        self
    }

    /// For a claimed call; none if its bytes are not those that were approved.
    pub(in crate::broker) fn claimed(approval: &Approval) -> Option<Self> {
        let (call, continues) = (approval.call.clone(), None);
        call.is_intact().then_some(Self { call, once: true, continues, counted: None })
    }

    /// The call it is for.
    pub fn call(&self) -> &ToolCall {
        &self.call
    }

    /// What lets further rounds of an allowed call through.
    pub fn renewal(&self) -> Option<Renewal> {
        (!self.once).then(|| Renewal { call: self.call.clone() })
    }
}
