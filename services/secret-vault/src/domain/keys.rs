//! Wrapped keys as the database keeps them. No key material is readable here.

use names::ScopeName;
use uuid::Uuid;

use super::{KeyState, Micros};

/// A scope's data key under the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataKeyRecord {
    pub(crate) key_id: Uuid,
    pub(crate) scope: ScopeName,
    pub(crate) term: u64,
    pub(crate) root_key_id: Uuid,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) state: KeyState,
    pub(crate) create_time: Micros,
}

/// The root key under the provider's key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootKeyRecord {
    pub(crate) id: Uuid,
    pub(crate) key_id: Uuid,
    pub(crate) term: u64,
    /// Which provider key opens it; no secret.
    pub(crate) provider: String,
    pub(crate) provider_check: Vec<u8>,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) check_value: Vec<u8>,
    pub(crate) create_time: Micros,
}

/// What one of the vault's own keys is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SystemKeyKind {
    Audit,
    Grant,
    Fingerprint,
}

impl SystemKeyKind {
    pub(crate) const ALL: [Self; 3] = [Self::Audit, Self::Grant, Self::Fingerprint];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Grant => "grant",
            Self::Fingerprint => "fingerprint",
        }
    }
}

/// One of the vault's own keys under the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemKeyRecord {
    pub(crate) key_id: Uuid,
    pub(crate) kind: SystemKeyKind,
    pub(crate) term: u64,
    pub(crate) root_key_id: Uuid,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) state: KeyState,
    pub(crate) create_time: Micros,
}

/// Everything that is written once, when the vault starts on an empty database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstKeys {
    pub(crate) deployment: Uuid,
    pub(crate) root: RootKeyRecord,
    pub(crate) system: Vec<SystemKeyRecord>,
}
