//! The policies that can be chosen by name. A policy file is not here yet.

use policy::Policy;

/// Which URLs and commands connectors may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PolicyChoice {
    /// Public https for all; commands for `system` connectors only
    Default,
    /// Any command, plain http, this machine and private networks for all: for one person's machine
    Local,
}

impl PolicyChoice {
    /// The policy itself.
    #[must_use]
    pub fn policy(self) -> Policy {
        match self {
            Self::Default => Policy::default(),
            Self::Local => Policy::local(),
        }
    }
}
