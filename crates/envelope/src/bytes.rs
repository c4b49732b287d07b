//! Length-prefixed encoding shared by contexts, wraps and MACs.
//!
//! Every variable part is preceded by its length as a big-endian `u32`, so that two different lists
//! of parts never give equal bytes.

/// Appends `part` with its length in front.
///
/// Parts are bounded far below `u32::MAX` by their types; a longer one saturates the prefix, which
/// can only make verification fail.
pub(crate) fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&length(part));
    out.extend_from_slice(part);
}

/// The prefix of `part`.
pub(crate) fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}
