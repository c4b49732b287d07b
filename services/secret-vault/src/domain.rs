//! What the vault knows and decides, without input, output or cryptography.
//!
//! Invariant: a value of any of these types obeys the limits of the contract. Nothing here knows gRPC,
//! SQL, keys or the time of day; the current time comes in as an argument.

mod audit;
mod blob;
mod destination;
mod invalid;
mod keys;
mod release;
mod secret;
mod time;
mod value;

pub(crate) use audit::{AuditEvent, Decision, Method, Reason};
pub(crate) use blob::{Blob, BlobPatch};
pub(crate) use destination::{DestinationRecord, Destinations, one_destination};
pub(crate) use invalid::Invalid;
pub(crate) use keys::{DataKeyRecord, FirstKeys, RootKeyRecord, SystemKeyKind, SystemKeyRecord};
pub(crate) use release::{
    GrantRecord, Holder, LeaseRecord, LeaseState, MAX_SECRETS, VersionRef, holder, ttl,
};
pub(crate) use secret::{
    FINGERPRINT, Field, FieldKind, KeyState, SecretRecord, SecretState, SecretView, VersionRecord,
    VersionState, length_bucket,
};
pub(crate) use time::Micros;
pub(crate) use value::check_value;
