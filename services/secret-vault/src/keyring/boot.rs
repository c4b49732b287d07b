//! Unlocking at start, and the making of the first keys on an empty database.
//!
//! Invariants: a key file is made only when the database holds no key at all; a database with keys and
//! no key file, or another one, is a fatal error and is left as it was. Two processes that start at
//! once on an empty database end up with the same keys: the one that commits first wins.

use database::Database;
use envelope::{DeploymentId, Key, KeyKind, MacRing, ScopeHash, WrapContext};
use lifecycle::Clock;
use uuid::Uuid;

use super::cache::Cache;
use super::key_file::{KeyFile, KeyFileError, ProviderKey};
use super::{KeyError, Keyring, Macs, random_id};
use crate::domain::{FirstKeys, KeyState, Micros, RootKeyRecord, SystemKeyKind, SystemKeyRecord};
use crate::store::{self, keys};

/// Why the vault cannot be unlocked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "the database holds keys but the key file is gone: put it back; a new one could not open anything"
    )]
    KeyLost(#[source] KeyFileError),
    #[error("the key file cannot be used")]
    KeyFile(#[source] KeyFileError),
    #[error("the key file holds another key ({found}) than the one the database needs ({needed})")]
    WrongKey { found: String, needed: String },
    #[error("the database holds data but no root key: it is damaged or was tampered with")]
    RootKeyGone,
    #[error("the keys in the database are damaged: {0}")]
    Damaged(&'static str),
    #[error("sealing failed")]
    Internal,
    #[error("the keys cannot be read")]
    Store(#[source] store::Error),
}

impl From<KeyError> for OpenError {
    fn from(_: KeyError) -> Self {
        Self::Internal
    }
}

impl From<store::Error> for OpenError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Keyring {
    /// Unlocks the database's keys with the key file, or makes both on an empty database.
    pub(crate) async fn open(
        database: &Database,
        file: &KeyFile,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        if is_empty(database).await? {
            let provider = first_provider_key(file)?;
            let first = first_keys(&provider, clock.now().into())?;
            // Losing to another process is fine: what it wrote is read below.
            keys::insert_first(database, &first).await?;
        }
        let root = keys::root(database.connection()).await?;
        let root = root.ok_or(OpenError::Damaged("no root key"))?;
        let provider = file.load().map_err(|error| match error {
            missing @ KeyFileError::Missing(_) => OpenError::KeyLost(missing),
            other => OpenError::KeyFile(other),
        })?;
        let deployment = keys::deployment(database.connection()).await?;
        let deployment = deployment.ok_or(OpenError::Damaged("no deployment"))?;
        let system = keys::system(database.connection()).await?;
        unlock(&provider, DeploymentId(deployment), &root, &system, clock)
    }
}

/// Whether nothing was ever stored here. One snapshot, because another process may be storing the first
/// keys just now.
async fn is_empty(database: &Database) -> Result<bool, OpenError> {
    let read = database.begin_read().await.map_err(store::Error::from)?;
    if keys::root(&*read).await?.is_some() {
        return Ok(false);
    }
    if keys::any_data(&*read).await? {
        return Err(OpenError::RootKeyGone);
    }
    Ok(true)
}

/// The key on an empty database: a file put there beforehand, else a new one.
fn first_provider_key(file: &KeyFile) -> Result<ProviderKey, OpenError> {
    match file.load() {
        Err(KeyFileError::Missing(_)) => match file.create() {
            Err(KeyFileError::Exists(_)) => file.load().map_err(OpenError::KeyFile),
            made => made.map_err(OpenError::KeyFile),
        },
        loaded => loaded.map_err(OpenError::KeyFile),
    }
}

fn first_keys(provider: &ProviderKey, now: Micros) -> Result<FirstKeys, KeyError> {
    let internal = |_| KeyError::Internal;
    let deployment = random_id()?;
    let (root, root_id) = (Key::generate().map_err(internal)?, random_id()?);
    let context = wrap_context(DeploymentId(deployment), KeyKind::Root, root_id, 1);
    let wrapped = envelope::wrap(&provider.key, &context, &root).map_err(internal)?;
    let mut system = Vec::new();
    for kind in SystemKeyKind::ALL {
        let under = (DeploymentId(deployment), root_id, &root);
        system.push(system_key(under, kind, 1, now)?);
    }
    let root = RootKeyRecord {
        id: random_id()?,
        key_id: root_id,
        term: 1,
        provider: provider.reference.clone(),
        provider_check: provider.key.check_value().to_vec(),
        wrapped,
        check_value: root.check_value().to_vec(),
        create_time: now,
    };
    Ok(FirstKeys {
        deployment,
        root,
        system,
    })
}

/// A new system key under the root key.
fn system_key(
    (deployment, root_key_id, root): (DeploymentId, Uuid, &Key),
    kind: SystemKeyKind,
    term: u64,
    now: Micros,
) -> Result<SystemKeyRecord, KeyError> {
    let internal = |_| KeyError::Internal;
    let key_id = random_id()?;
    let context = wrap_context(deployment, key_kind(kind), key_id, term);
    let key = Key::generate().map_err(internal)?;
    Ok(SystemKeyRecord {
        key_id,
        kind,
        term,
        root_key_id,
        wrapped: envelope::wrap(root, &context, &key).map_err(internal)?,
        state: KeyState::Active,
        create_time: now,
    })
}

fn unlock(
    provider: &ProviderKey,
    deployment: DeploymentId,
    record: &RootKeyRecord,
    system: &[SystemKeyRecord],
    clock: &Clock,
) -> Result<Keyring, OpenError> {
    if record.provider != provider.reference
        || !provider.key.has_check_value(&record.provider_check)
    {
        return Err(OpenError::WrongKey {
            found: provider.reference.clone(),
            needed: record.provider.clone(),
        });
    }
    let context = wrap_context(deployment, KeyKind::Root, record.key_id, record.term);
    let root = envelope::unwrap(&provider.key, &context, &record.wrapped)
        .map_err(|_| OpenError::Damaged("the root key does not unwrap"))?;
    if !root.has_check_value(&record.check_value) {
        return Err(OpenError::Damaged(
            "the root key is another than its row says",
        ));
    }
    let ring = |kind: SystemKeyKind| ring(deployment, &root, kind, system);
    let macs = Macs {
        audit: ring(SystemKeyKind::Audit)?,
        grant: ring(SystemKeyKind::Grant)?,
        fingerprint: ring(SystemKeyKind::Fingerprint)?,
    };
    let cache = Cache::new(clock.clone());
    Ok(Keyring {
        deployment,
        root_id: record.key_id,
        root,
        macs,
        cache,
    })
}

/// All terms of a system key that are still good for something; exactly one is active.
fn ring(
    deployment: DeploymentId,
    root: &Key,
    kind: SystemKeyKind,
    system: &[SystemKeyRecord],
) -> Result<MacRing, OpenError> {
    let unwrap = |record: &SystemKeyRecord| {
        let context = wrap_context(deployment, key_kind(kind), record.key_id, record.term);
        let key = envelope::unwrap(root, &context, &record.wrapped)
            .map_err(|_| OpenError::Damaged("a system key does not unwrap"))?;
        let term = u32::try_from(record.term)
            .map_err(|_| OpenError::Damaged("a system key's term is too large"))?;
        Ok::<_, OpenError>((term, key))
    };
    let in_state = |state| {
        system
            .iter()
            .filter(move |record| record.kind == kind && record.state == state)
    };
    let mut active = in_state(KeyState::Active);
    let (Some(newest), None) = (active.next(), active.next()) else {
        return Err(OpenError::Damaged("a system key is missing"));
    };
    let (term, key) = unwrap(newest)?;
    let mut ring = MacRing::new(term, key);
    for record in in_state(KeyState::DecryptOnly) {
        let (term, key) = unwrap(record)?;
        ring = ring.with_former(term, key);
    }
    Ok(ring)
}

fn key_kind(kind: SystemKeyKind) -> KeyKind {
    match kind {
        SystemKeyKind::Audit => KeyKind::Audit,
        SystemKeyKind::Grant => KeyKind::Grant,
        SystemKeyKind::Fingerprint => KeyKind::Fingerprint,
    }
}

/// Keys without a scope carry the hash of the empty name.
fn wrap_context(deployment: DeploymentId, kind: KeyKind, key_id: Uuid, term: u64) -> WrapContext {
    WrapContext {
        deployment,
        kind,
        scope: ScopeHash::of(""),
        key_id,
        term,
    }
}

#[cfg(test)]
mod tests;
