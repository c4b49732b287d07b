//! Why an envelope, a wrapped key or a context was refused. Texts are static and carry no bytes.

/// A refusal of this crate. For callers outside the vault all of them mean "unreadable"; the
/// variant is for the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The version or suite byte is not one this build knows. Checked before any cryptography.
    #[error("unsupported format")]
    UnsupportedFormat,
    /// Too short to hold the fixed fields and a value, or longer than the largest value allows.
    #[error("invalid length")]
    Length,
    /// The data key offered is not the one the envelope was sealed under.
    #[error("key mismatch")]
    KeyMismatch,
    /// The commitment does not belong to this key.
    #[error("commitment mismatch")]
    Commitment,
    /// Ciphertext, header or context were changed: the tag does not verify.
    #[error("authentication failed")]
    Authentication,
    /// A context or a value that must not be sealed (empty value, over-long field name).
    #[error("invalid input")]
    Input,
    /// The operating system gave no randomness.
    #[error("no randomness")]
    Randomness,
}
