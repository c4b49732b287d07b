//! What is written down about each access. A typed list of allowed fields: a value has no place in it.
//!
//! Rows are written for: every write and every destruction; every grant; every released version, with the
//! lease it began; every lease given back and every revocation; and every refusal that may be an attempt at
//! theft (another destination, a request id with another body, a grant or lease that is not the caller's,
//! grants asked for too fast, of which at most one a second is written), as well as whatever turned out
//! unreadable. No rows are written for lease renewals that succeed, for what was merely malformed, and for
//! reading descriptions.

use names::ScopeName;
use uuid::Uuid;

use super::Micros;

/// One row of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditEvent {
    /// The chain: the scope concerned, `system` when it is not known.
    pub(crate) scope: ScopeName,
    pub(crate) time: Micros,
    pub(crate) actor: String,
    pub(crate) acting_user: Option<String>,
    pub(crate) method: Method,
    pub(crate) connector: Option<Uuid>,
    pub(crate) secret: Option<Uuid>,
    pub(crate) version: Option<u64>,
    pub(crate) grant: Option<Uuid>,
    pub(crate) lease: Option<Uuid>,
    pub(crate) decision: Decision,
    pub(crate) reason: Reason,
    pub(crate) request_id: Option<Uuid>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    AddSecretVersion,
    PatchSecretBlob,
    DestroySecretVersion,
    DeleteSecret,
    CreateGrant,
    RedeemGrant,
    RenewLease,
    ReleaseLease,
    RevokeLeases,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AddSecretVersion => "AddSecretVersion",
            Self::PatchSecretBlob => "PatchSecretBlob",
            Self::DestroySecretVersion => "DestroySecretVersion",
            Self::DeleteSecret => "DeleteSecret",
            Self::CreateGrant => "CreateGrant",
            Self::RedeemGrant => "RedeemGrant",
            Self::RenewLease => "RenewLease",
            Self::ReleaseLease => "ReleaseLease",
            Self::RevokeLeases => "RevokeLeases",
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    Denied,
    /// The vault found its own data damaged.
    Failed,
}

impl Decision {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// Why, in more detail than any caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Ok,
    /// No grant with this token that is unspent, in time, and for this holder.
    GrantNotUsable,
    /// The grant's row was changed behind the vault's back.
    GrantAltered,
    /// The destination that is dialled is not the grant's.
    DestinationMismatch,
    /// The destination is not in the record the value was entered with.
    DestinationNotRecorded,
    /// The destination record was changed behind the vault's back, or belongs elsewhere.
    DestinationAltered,
    /// The secret's row was changed behind the vault's back.
    HeadAltered,
    /// The secret or the version is gone.
    SecretGone,
    /// No lease with this token that is active, in time, and this holder's.
    LeaseNotUsable,
    /// The lease's row was changed behind the vault's back.
    LeaseAltered,
    /// The data key is not in the database.
    KeyUnknown,
    /// The data key belongs to another scope.
    KeyForeign,
    /// The data key's term has ended.
    KeyRetired,
    /// The data key does not unwrap.
    KeyUnreadable,
    /// The envelope's format is not known.
    UnsupportedFormat,
    /// The envelope names another key than its row, or is committed to another.
    KeyMismatch,
    /// The envelope does not belong to this place, or was changed.
    EnvelopeAltered,
    /// The value is not what the vault writes.
    ContentMalformed,
    /// A row holds what no version of this program writes.
    RowImpossible,
    /// The request id came with another request before.
    RequestIdReused,
    /// Grants were asked for too fast.
    RateExceeded,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::GrantNotUsable => "GRANT_NOT_USABLE",
            Self::GrantAltered => "GRANT_ALTERED",
            Self::DestinationMismatch => "DESTINATION_MISMATCH",
            Self::DestinationNotRecorded => "DESTINATION_NOT_RECORDED",
            Self::DestinationAltered => "DESTINATION_ALTERED",
            Self::HeadAltered => "HEAD_ALTERED",
            Self::SecretGone => "SECRET_GONE",
            Self::LeaseNotUsable => "LEASE_NOT_USABLE",
            Self::LeaseAltered => "LEASE_ALTERED",
            Self::KeyUnknown => "KEY_UNKNOWN",
            Self::KeyForeign => "KEY_FOREIGN",
            Self::KeyRetired => "KEY_RETIRED",
            Self::KeyUnreadable => "KEY_UNREADABLE",
            Self::UnsupportedFormat => "UNSUPPORTED_FORMAT",
            Self::KeyMismatch => "KEY_MISMATCH",
            Self::EnvelopeAltered => "ENVELOPE_ALTERED",
            Self::ContentMalformed => "CONTENT_MALFORMED",
            Self::RowImpossible => "ROW_IMPOSSIBLE",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::RateExceeded => "RATE_EXCEEDED",
        }
    }
}
