//! Thirty-two secret bytes, and the only source of randomness of the vault.
//!
//! A [`Key`] is wiped on drop and cannot be printed, cloned, compared or serialised; its bytes leave
//! this crate only through [`Key::expose`], which the key-file provider needs.

use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::Error;

/// A 256-bit key.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// A new key from the operating system's generator.
    ///
    /// # Errors
    /// [`Error::Randomness`] when the system has none to give.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Copies a key out of `bytes`; the caller wipes its own copy.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let mut key = Zeroizing::new([0_u8; 32]);
        if bytes.len() != key.len() {
            return Err(Error::Length);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// A second owner of the same key, for caches. Explicit, because a derive would be invisible.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// The raw bytes. For the key file and for tests; everything else works on keys.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key-check value `HMAC-SHA256(key, "kcv")`: tells a wrong key from damaged data without
    /// saying anything about the key.
    #[must_use]
    pub fn check_value(&self) -> [u8; 32] {
        self.hmac()
            .chain_update(b"kcv")
            .finalize()
            .into_bytes()
            .into()
    }

    /// Compares the check value in constant time.
    #[must_use]
    pub fn has_check_value(&self, expected: &[u8]) -> bool {
        self.check_value().ct_eq(expected).into()
    }

    /// A keyed HMAC state.
    pub(crate) fn hmac(&self) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        Hmac::new_from_slice(self.0.as_slice()).expect("HMAC takes keys of every length")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// `N` random bytes that are no secret by themselves: salts, nonces, ids. Grant tokens are wrapped by
/// their caller.
///
/// # Errors
/// [`Error::Randomness`] when the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0_u8; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    SysRng.try_fill_bytes(bytes).map_err(|_| Error::Randomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_prints_its_bytes() {
        let key = Key::from_slice(&[0x41; 32]).unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "Key(..) Key(..)");
    }

    #[test]
    fn a_key_has_exactly_32_bytes() {
        for length in (0..=31).chain(33..=64) {
            assert_eq!(Key::from_slice(&vec![7; length]).err(), Some(Error::Length));
        }
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(
            Key::generate().unwrap().expose(),
            Key::generate().unwrap().expose()
        );
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }

    #[test]
    fn the_check_value_belongs_to_one_key() {
        let (one, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        assert!(one.has_check_value(&one.duplicate().check_value()));
        assert!(!one.has_check_value(&other.check_value()));
        assert!(!one.has_check_value(&one.check_value()[..31]));
        assert!(!one.has_check_value(&[]));
    }
}
