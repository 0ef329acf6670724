//! What a server may ask of a client: sampling, elicitation, roots.

/// What a server may ask of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientFeature {
    /// `elicitation/create`: a form or a page for the user.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>
    Elicitation,
    /// `roots/list`: the folders the user works in.
    Roots,
    /// `sampling/createMessage`: the client's language model.
    Sampling,
}

impl ClientFeature {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Elicitation, Self::Roots, Self::Sampling];

    /// What passes unless the configuration says otherwise. Sampling does not: it spends the user's
    /// model and may make it say what no reviewer has read.
    pub const DEFAULT: [Self; 2] = [Self::Elicitation, Self::Roots];

    /// The key under `capabilities`, and the word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::Roots => "roots",
            Self::Sampling => "sampling",
        }
    }

    /// The feature that a server's method needs; none for methods no client offers.
    pub fn of_method(method: &str) -> Option<Self> {
        match method {
            "elicitation/create" => Some(Self::Elicitation),
            "roots/list" => Some(Self::Roots),
            "sampling/createMessage" => Some(Self::Sampling),
            _ => None,
        }
    }
}
