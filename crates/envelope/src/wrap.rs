//! Keys under keys: AES-256-GCM without derivation, for the few wraps a deployment ever makes.
//!
//! `01 | nonce 12 | wrapped key 32 | tag 16`. The associated data name the key that is wrapped, so
//! that a row copied to another scope, term, kind or deployment does not unwrap:
//! `"SVWRP1" | kind u8 | lp(deployment) | scope 16 | key id 16 | term u64 BE`. The wrapping key is
//! not named there: it may be replaced while the wrapped one stays what it is.
//!
//! The number of wraps under one key is bounded by the rows of the database, far below the 2^32 that
//! random nonces allow.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{DeploymentId, Error, Key, ScopeHash, bytes, random};

/// Bytes of a wrapped key.
pub const WRAPPED_LEN: usize = TAG_AT + 16;

const VERSION: u8 = 1;
const NONCE_AT: usize = 1;
const KEY_AT: usize = 13;
const TAG_AT: usize = 45;

/// What a wrapped key is for. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// The root key, under the key-encryption key of the provider.
    Root = 1,
    /// A scope's data key, under the root key.
    Data = 2,
    /// The key of the audit chain and of record MACs, under the root key.
    Audit = 3,
    /// The key of grant tokens and lease ids, under the root key.
    Grant = 4,
    /// The key of fingerprints, under the root key.
    Fingerprint = 5,
}

/// Which key a wrap holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapContext {
    /// The installation.
    pub deployment: DeploymentId,
    /// What the key is for.
    pub kind: KeyKind,
    /// The owner of a data key; for keys without a scope the hash of the empty name.
    pub scope: ScopeHash,
    /// The id of the key that is wrapped.
    pub key_id: Uuid,
    /// Its term or version, from 1.
    pub term: u64,
}

impl WrapContext {
    /// The associated data; also what binds a wrap made by an external key service.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            deployment,
            kind,
            scope,
            key_id,
            term,
        } = self;
        let mut out = Vec::with_capacity(6 + 1 + 4 + 16 + 16 + 16 + 8);
        out.extend_from_slice(b"SVWRP1");
        out.push(*kind as u8);
        bytes::put(&mut out, deployment.0.as_bytes());
        out.extend_from_slice(scope.as_bytes());
        out.extend_from_slice(key_id.as_bytes());
        out.extend_from_slice(&term.to_be_bytes());
        out
    }
}

/// Wraps `key` under `wrapping`.
///
/// # Errors
/// [`Error::Randomness`] when the system has none.
pub fn wrap(wrapping: &Key, context: &WrapContext, key: &Key) -> Result<Vec<u8>, Error> {
    wrap_with(wrapping, context, key, &random()?)
}

/// Unwraps what [`wrap`] made under `wrapping` for exactly `context`.
///
/// # Errors
/// [`Error::UnsupportedFormat`], [`Error::Length`] or [`Error::Authentication`].
pub fn unwrap(wrapping: &Key, context: &WrapContext, wrapped: &[u8]) -> Result<Key, Error> {
    match wrapped {
        [VERSION, ..] if wrapped.len() != WRAPPED_LEN => return Err(Error::Length),
        [VERSION, ..] => {}
        [] => return Err(Error::Length),
        [..] => return Err(Error::UnsupportedFormat),
    }
    let nonce = wrapped[NONCE_AT..KEY_AT]
        .try_into()
        .map_err(|_| Error::Length)?;
    let tag = wrapped[TAG_AT..].try_into().map_err(|_| Error::Length)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    key.copy_from_slice(&wrapped[KEY_AT..TAG_AT]);
    cipher(wrapping)?
        .decrypt_inout_detached(nonce, &context.encode(), key.as_mut_slice().into(), tag)
        .map_err(|_| Error::Authentication)?;
    Key::from_slice(key.as_slice())
}

fn wrap_with(
    wrapping: &Key,
    context: &WrapContext,
    key: &Key,
    nonce: &[u8; 12],
) -> Result<Vec<u8>, Error> {
    let mut out = Zeroizing::new(Vec::with_capacity(WRAPPED_LEN));
    out.push(VERSION);
    out.extend_from_slice(nonce);
    out.extend_from_slice(key.expose());
    let tag = cipher(wrapping)?
        .encrypt_inout_detached(nonce.into(), &context.encode(), (&mut out[KEY_AT..]).into())
        .map_err(|_| Error::Length)?;
    out.extend_from_slice(&tag);
    Ok(core::mem::take(&mut *out))
}

fn cipher(key: &Key) -> Result<Aes256Gcm, Error> {
    Aes256Gcm::new_from_slice(key.expose()).map_err(|_| Error::Length)
}

#[cfg(test)]
mod tests;
