//! The unlocked key hierarchy: provider key → root key → system keys and data keys.
//!
//! Invariants: no key leaves this module; data keys are looked up by their exact id and checked against
//! their scope before they are unwrapped, never tried; what is cached is bounded in number and time and
//! wiped when it goes. Every cryptographic refusal is a [`Reason`] for the audit, one of which is all a
//! caller's error is made from.
//!
//! Not here: where rows come from (`store`) and who may have a value released (`vault`).

mod boot;
mod cache;
mod key_file;
mod macs;

use std::sync::Arc;

use envelope::{Context, DeploymentId, Key, KeyKind, ScopeHash, WrapContext};
use names::ScopeName;
use sensitive::{Bytes, Text};
use uuid::Uuid;

pub(crate) use key_file::KeyFile;
pub(crate) use macs::{Digests, Macs};

use crate::domain::{DataKeyRecord, Field, FieldKind, KeyState, Micros, Reason, length_bucket};
use cache::Cache;

/// A failed use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// Stored data cannot be read. The reason is for the audit.
    #[error("the secret cannot be read")]
    Unreadable(Reason),
    /// The system gave no randomness, or a checked value does not fit: our own fault.
    #[error("sealing failed")]
    Internal,
}

/// All keys of a running vault.
pub(crate) struct Keyring {
    deployment: DeploymentId,
    root_id: Uuid,
    root: Key,
    macs: Macs,
    cache: Cache,
}

/// A scope's data key, ready for use.
pub(crate) struct DataKey {
    id: Uuid,
    key: Arc<Key>,
}

/// The one place a value belongs to.
pub(crate) struct Place<'a> {
    pub(crate) scope: &'a ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) destination: Uuid,
    pub(crate) secret: Uuid,
    pub(crate) version: u64,
    pub(crate) field: &'a Field,
}

/// A sealed value with what may be told about it.
pub(crate) struct Sealed {
    pub(crate) data_key: Uuid,
    pub(crate) envelope: Vec<u8>,
    pub(crate) length_bucket: u32,
    pub(crate) fingerprint: Vec<u8>,
}

impl Keyring {
    /// Digests and record checks under the system keys.
    pub(crate) fn macs(&self) -> &Macs {
        &self.macs
    }

    /// A new data key for `scope`, wrapped.
    pub(crate) fn new_data_key(
        &self,
        scope: &ScopeName,
        term: u64,
        now: Micros,
    ) -> Result<DataKeyRecord, KeyError> {
        let key_id = random_id()?;
        let key = Key::generate().map_err(|_| KeyError::Internal)?;
        let context = self.wrap_context(scope, key_id, term);
        let wrapped = envelope::wrap(&self.root, &context, &key).map_err(|_| KeyError::Internal)?;
        Ok(DataKeyRecord {
            key_id,
            scope: scope.clone(),
            term,
            root_key_id: self.root_id,
            wrapped,
            state: KeyState::Active,
            create_time: now,
        })
    }

    /// Unwraps a data key that must belong to `scope`. State and owner are checked before any
    /// cryptography and before the cache.
    pub(crate) fn data_key(
        &self,
        scope: &ScopeName,
        record: &DataKeyRecord,
    ) -> Result<DataKey, KeyError> {
        if record.scope != *scope {
            return Err(KeyError::Unreadable(Reason::KeyForeign));
        }
        match record.state {
            KeyState::Active | KeyState::DecryptOnly => {}
            KeyState::Retired => return Err(KeyError::Unreadable(Reason::KeyRetired)),
        }
        let id = record.key_id;
        let owner = ScopeHash::of(&scope.to_string());
        if let Some(key) = self.cache.get(id, owner) {
            return Ok(DataKey { id, key });
        }
        if record.root_key_id != self.root_id {
            return Err(KeyError::Unreadable(Reason::KeyUnreadable));
        }
        let context = self.wrap_context(scope, id, record.term);
        let key = envelope::unwrap(&self.root, &context, &record.wrapped)
            .map_err(|_| KeyError::Unreadable(Reason::KeyUnreadable))?;
        let key = Arc::new(key);
        self.cache.put(id, owner, &key);
        Ok(DataKey { id, key })
    }

    /// Seals `value` for `place`.
    pub(crate) fn seal(
        &self,
        key: &DataKey,
        place: &Place<'_>,
        value: &Bytes,
    ) -> Result<Sealed, KeyError> {
        let context = self.context(place);
        let envelope = envelope::seal(&key.key, key.id, &context, value.expose())
            .map_err(|_| KeyError::Internal)?;
        Ok(Sealed {
            data_key: key.id,
            envelope,
            length_bucket: length_bucket(value.len()),
            fingerprint: self.macs.fingerprint(place.scope, value),
        })
    }

    /// Opens the envelope stored at `place`.
    pub(crate) fn open_value(
        &self,
        key: &DataKey,
        place: &Place<'_>,
        envelope: &[u8],
    ) -> Result<Bytes, KeyError> {
        envelope::open(&key.key, key.id, &self.context(place), envelope)
            .map_err(|error| KeyError::Unreadable(reason(error)))
    }

    fn context<'a>(&self, place: &Place<'a>) -> Context<'a> {
        let Place {
            scope,
            connector,
            destination,
            secret,
            version,
            field,
        } = place;
        Context {
            deployment: self.deployment,
            scope: ScopeHash::of(&scope.to_string()),
            connector: *connector,
            destination: *destination,
            secret: *secret,
            version: *version,
            field: format_kind(field.kind),
            field_name: &field.name,
        }
    }

    fn wrap_context(&self, scope: &ScopeName, key_id: Uuid, term: u64) -> WrapContext {
        let scope = ScopeHash::of(&scope.to_string());
        WrapContext {
            deployment: self.deployment,
            kind: KeyKind::Data,
            scope,
            key_id,
            term,
        }
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(..)")
    }
}

/// A new random id (version 4), for keys.
fn random_id() -> Result<Uuid, KeyError> {
    let bytes = envelope::random().map_err(|_| KeyError::Internal)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// A new token: 32 random bytes as text, behind a prefix by which leaks can be found.
pub(crate) fn new_token(prefix: &'static str) -> Result<Text, KeyError> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = zeroize::Zeroizing::new(envelope::random::<32>().map_err(|_| KeyError::Internal)?);
    let mut text = String::with_capacity(prefix.len() + 43);
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
    Ok(Text::new(text))
}

fn format_kind(kind: FieldKind) -> envelope::FieldKind {
    match kind {
        FieldKind::Environment => envelope::FieldKind::Env,
        FieldKind::Header => envelope::FieldKind::Header,
        FieldKind::Query => envelope::FieldKind::Query,
        FieldKind::EnvironmentBlob => envelope::FieldKind::EnvBlob,
    }
}

fn reason(error: envelope::Error) -> Reason {
    use envelope::Error;
    match error {
        Error::UnsupportedFormat => Reason::UnsupportedFormat,
        Error::KeyMismatch | Error::Commitment => Reason::KeyMismatch,
        Error::Length | Error::Authentication | Error::Input | Error::Randomness => {
            Reason::EnvelopeAltered
        }
    }
}
