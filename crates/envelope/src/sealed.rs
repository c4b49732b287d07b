//! Envelope v1: one secret version as bytes.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 1 | version, `01` |
//! | 1 | 1 | suite, `01`: HKDF-SHA256-Expand, AES-256-GCM, 16-byte tag, 32-byte commitment |
//! | 2 | 16 | id of the data key |
//! | 18 | 32 | salt |
//! | 50 | 12 | nonce |
//! | 62 | 32 | key commitment |
//! | 94 | n | ciphertext, then the 16-byte tag |
//!
//! `OKM = HKDF-Expand(SHA-256, PRK = data key, info = "secret-vault/v1/msg" 00 | suite | key id |
//! salt, L = 64)`: the first half is the message key, the second the commitment. The associated data
//! are the 94 bytes of the header followed by the context.
//!
//! There is no second format, no trial of several keys, and no way to name salt or nonce.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use hkdf::Hkdf;
use sensitive::Bytes;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{Context, Error, Key, random};

/// What an envelope adds to its value, in bytes.
pub const OVERHEAD: usize = HEADER + TAG;
/// The largest value, in bytes.
pub const MAX_PLAINTEXT: usize = 64 * 1024;
/// The largest envelope, in bytes.
pub const MAX_ENVELOPE: usize = MAX_PLAINTEXT + OVERHEAD;

const VERSION: u8 = 1;
const SUITE: u8 = 1;
const KEY_ID: usize = 2;
const SALT: usize = 18;
const NONCE: usize = 50;
const COMMITMENT: usize = 62;
const HEADER: usize = 94;
const TAG: usize = 16;
const INFO: &[u8] = b"secret-vault/v1/msg\0";

/// Seals `plaintext` under the data key `key`, whose id is `key_id`, for the place `context`.
///
/// # Errors
/// [`Error::Input`] for an empty value or a bad context, [`Error::Length`] for one over
/// [`MAX_PLAINTEXT`], [`Error::Randomness`] when the system has none.
pub fn seal(
    key: &Key,
    key_id: Uuid,
    context: &Context<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    seal_with(key, key_id, context, plaintext, &random()?, &random()?)
}

/// Opens `envelope`, which must have been sealed under `key` with id `key_id` for exactly `context`.
///
/// # Errors
/// Every difference is refused with one of [`Error`]'s static texts; no plaintext is ever partial.
pub fn open(
    key: &Key,
    key_id: Uuid,
    context: &Context<'_>,
    envelope: &[u8],
) -> Result<Bytes, Error> {
    check_form(envelope)?;
    let (header, rest) = envelope.split_at(HEADER);
    if header[KEY_ID..SALT] != *key_id.as_bytes() {
        return Err(Error::KeyMismatch);
    }
    let derived = Derived::new(key, &header[KEY_ID..SALT], &header[SALT..NONCE])?;
    if !bool::from(derived.commitment().ct_eq(&header[COMMITMENT..HEADER])) {
        return Err(Error::Commitment);
    }
    let associated = associated_data(header, context)?;
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
    // Exact capacity: the buffer never grows, so no unwiped copy is left behind.
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let nonce = header[NONCE..COMMITMENT]
        .try_into()
        .map_err(|_| Error::Length)?;
    let tag = tag.try_into().map_err(|_| Error::Length)?;
    derived
        .cipher()?
        .decrypt_inout_detached(nonce, &associated, buffer.as_mut_slice().into(), tag)
        .map_err(|_| Error::Authentication)?;
    Ok(Bytes::from_zeroizing(buffer))
}

/// The id of the data key named in the header, for its exact look-up. Not trustworthy until
/// [`open`] has succeeded with that key.
///
/// # Errors
/// [`Error::UnsupportedFormat`] or [`Error::Length`] for what is no envelope.
pub fn key_id(envelope: &[u8]) -> Result<Uuid, Error> {
    check_form(envelope)?;
    Uuid::from_slice(&envelope[KEY_ID..SALT]).map_err(|_| Error::Length)
}

/// Length and the two format bytes, before anything else is looked at.
fn check_form(envelope: &[u8]) -> Result<(), Error> {
    match envelope {
        [VERSION, SUITE, ..] if envelope.len() <= OVERHEAD || envelope.len() > MAX_ENVELOPE => {
            Err(Error::Length)
        }
        [VERSION, SUITE, ..] => Ok(()),
        [] | [VERSION] => Err(Error::Length),
        [..] => Err(Error::UnsupportedFormat),
    }
}

fn seal_with(
    key: &Key,
    key_id: Uuid,
    context: &Context<'_>,
    plaintext: &[u8],
    salt: &[u8; 32],
    nonce: &[u8; 12],
) -> Result<Vec<u8>, Error> {
    if plaintext.is_empty() {
        return Err(Error::Input);
    }
    if plaintext.len() > MAX_PLAINTEXT {
        return Err(Error::Length);
    }
    let derived = Derived::new(key, key_id.as_bytes(), salt)?;
    // Holds the plaintext until it is encrypted in place, hence wiped on every early return.
    let mut out = Zeroizing::new(Vec::with_capacity(OVERHEAD + plaintext.len()));
    out.extend_from_slice(&[VERSION, SUITE]);
    out.extend_from_slice(key_id.as_bytes());
    out.extend_from_slice(salt);
    out.extend_from_slice(nonce);
    out.extend_from_slice(derived.commitment());
    let associated = associated_data(&out, context)?;
    out.extend_from_slice(plaintext);
    let tag = derived
        .cipher()?
        .encrypt_inout_detached(nonce.into(), &associated, (&mut out[HEADER..]).into())
        .map_err(|_| Error::Length)?;
    out.extend_from_slice(&tag);
    Ok(core::mem::take(&mut *out))
}

fn associated_data(header: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
    let context = context.encode()?;
    let mut associated = Vec::with_capacity(header.len() + context.len());
    associated.extend_from_slice(header);
    associated.extend_from_slice(&context);
    Ok(associated)
}

/// The single-use message key and its commitment.
struct Derived(Zeroizing<[u8; 64]>);

impl Derived {
    fn new(key: &Key, key_id: &[u8], salt: &[u8]) -> Result<Self, Error> {
        let mut okm = Zeroizing::new([0_u8; 64]);
        Hkdf::<Sha256>::from_prk(key.expose())
            .map_err(|_| Error::Length)?
            .expand_multi_info(&[INFO, &[SUITE], key_id, salt], okm.as_mut_slice())
            .map_err(|_| Error::Length)?;
        Ok(Self(okm))
    }

    fn cipher(&self) -> Result<Aes256Gcm, Error> {
        Aes256Gcm::new_from_slice(&self.0[..32]).map_err(|_| Error::Length)
    }

    fn commitment(&self) -> &[u8] {
        &self.0[32..]
    }
}

#[cfg(test)]
mod tests;
