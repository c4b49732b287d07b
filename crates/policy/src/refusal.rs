//! Why something was refused. The messages are static: no part of a URL or a command is repeated in them, because both
//! may carry a secret.

use crate::AddressClass;

/// A refusal by the policy, or by the form of what was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum Refusal {
    /// Not a URL with a host.
    InvalidUrl,
    /// The URL carries a user name or password.
    Credentials,
    /// Neither `http` nor `https`.
    UnknownScheme,
    /// `http` where only `https` is allowed.
    PlainHttp,
    /// The host is on the deny list or not on the allow list.
    Host,
    /// The address, literal or resolved, is of a class that may not be reached.
    Address(AddressClass),
    /// The command is neither an absolute path nor a bare name, or contains a NUL character.
    InvalidCommand,
    /// A variable is named twice, or the environment or working directory contains a NUL character.
    InvalidEnvironment,
    /// The scope may not run this command.
    Command,
}

impl Refusal {
    /// Whether the form is wrong, whatever the policy says.
    #[must_use]
    pub const fn is_invalid(self) -> bool {
        match self {
            Self::InvalidUrl
            | Self::Credentials
            | Self::UnknownScheme
            | Self::InvalidCommand
            | Self::InvalidEnvironment => true,
            Self::PlainHttp | Self::Host | Self::Address(_) | Self::Command => false,
        }
    }

    /// A sentence for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::InvalidUrl => "the URL must be absolute and have a host",
            Self::Credentials => {
                "the URL must not contain a user name or password; use a secret header"
            }
            Self::UnknownScheme => "the URL must begin with https:// or http://",
            Self::PlainHttp => "the policy allows only https URLs here",
            Self::Host => "the policy does not allow this host",
            Self::Address(class) => class.refusal(),
            Self::InvalidCommand => "the command must be an absolute path or a bare program name",
            Self::InvalidEnvironment => {
                "environment and working directory must not repeat a name or contain NUL characters"
            }
            Self::Command => "the policy does not allow this scope to run this command",
        }
    }
}
