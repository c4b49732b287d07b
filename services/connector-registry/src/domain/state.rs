//! Observed states of a connector and the coarse view of them.
//!
//! The texts are the names of the enum values in the protocol, in the database and in filters alike.

/// What was last observed of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nothing was tried yet.
    Pending,
    /// A session is being made.
    Connecting,
    /// The session works.
    Ready,
    /// Healthy and hibernated; wakes on demand.
    Idle,
    /// The session works, the last probe did not.
    Degraded,
    /// There is no working session.
    Unreachable,
    /// The server wants credentials that it did not get.
    AuthRequired,
    /// What the owner configured cannot work.
    Misconfigured,
    /// The owner switched it off.
    Disabled,
}

/// The coarse view of a [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// Tools can be called.
    Connected,
    /// Somebody has to do something.
    Error,
    /// Nothing is wrong, and nothing is connected.
    Disconnected,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Connecting,
        Self::Ready,
        Self::Idle,
        Self::Degraded,
        Self::Unreachable,
        Self::AuthRequired,
        Self::Misconfigured,
        Self::Disabled,
    ];

    /// The state's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::Idle => "IDLE",
            Self::Degraded => "DEGRADED",
            Self::Unreachable => "UNREACHABLE",
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::Misconfigured => "MISCONFIGURED",
            Self::Disabled => "DISABLED",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The coarse view.
    #[must_use]
    pub fn condition(self) -> Condition {
        match self {
            Self::Ready | Self::Idle | Self::Degraded => Condition::Connected,
            Self::Unreachable | Self::AuthRequired | Self::Misconfigured => Condition::Error,
            Self::Pending | Self::Connecting | Self::Disabled => Condition::Disconnected,
        }
    }

    /// Whether the runtime has come to a verdict: waiting longer changes nothing by itself.
    #[must_use]
    pub fn is_settled(self) -> bool {
        match self {
            Self::Pending | Self::Connecting => false,
            Self::Ready
            | Self::Idle
            | Self::Degraded
            | Self::Unreachable
            | Self::AuthRequired
            | Self::Misconfigured
            | Self::Disabled => true,
        }
    }
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 3] = [Self::Connected, Self::Error, Self::Disconnected];

    /// The condition's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "CONNECTED",
            Self::Error => "ERROR",
            Self::Disconnected => "DISCONNECTED",
        }
    }

    /// The condition with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|condition| condition.as_str() == name)
    }

    /// The states that this condition sums up.
    pub fn states(self) -> impl Iterator<Item = State> {
        State::ALL
            .into_iter()
            .filter(move |state| state.condition() == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_name_and_one_condition() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.as_str()), Some(state));
            let summed = Condition::ALL
                .into_iter()
                .filter(|condition| condition.states().any(|one| one == state));
            assert_eq!(summed.count(), 1, "{state:?}");
        }
        assert_eq!(State::from_name("ready"), None);
        assert_eq!(
            Condition::from_name("CONNECTED"),
            Some(Condition::Connected)
        );
    }
}
