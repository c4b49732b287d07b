//! Page sizes and page tokens: opaque, authenticated, bound to the method and filter they are for.
//!
//! A token holds a position in a list and a MAC over it. It grants nothing and names no caller:
//! every page is authorised anew. Not here: queries, and what a position is made of.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use sha2::Sha256;
use tonic::Code;

use crate::error::{FixableBy, Reason, RichError};

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
const MAX_TOKEN: usize = 2048;

/// Pages stop at about this many bytes, below `page_size` if need be, so that a page of large
/// resources still fits a message.
pub const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;

/// The page size to use: `default` for 0, never over `max`.
///
/// # Errors
/// INVALID_ARGUMENT for a negative size.
pub fn page_size(requested: i32, default: u32, max: u32) -> Result<u32, RichError> {
    match u32::try_from(requested) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(RichError::invalid_field(
            "page_size",
            "must not be negative",
        )),
    }
}

/// Makes and checks page tokens.
pub struct Pager {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Pager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pager(..)")
    }
}

impl Pager {
    /// Tokens that hold for as long as `key` is kept.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn with_key(key: &[u8; 32]) -> Self {
        Self {
            mac: Hmac::new_from_slice(key).expect("any length is valid"),
        }
    }

    /// Tokens that hold for the life of this process. Enough where a client that is told
    /// INVALID_ARGUMENT after a restart begins its list again.
    #[must_use]
    pub fn for_process() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        Self::with_key(&key)
    }

    /// The token that continues after `position`.
    ///
    /// `bound_to` is everything that has to stay the same from page to page: the method, the
    /// parent, the filter, the order. The page size may change. Positions are short: a name, a
    /// revision; a token of more than 2 KiB is not taken back.
    #[must_use]
    pub fn token(&self, bound_to: &[&str], position: &[u8]) -> String {
        let mut token = Vec::with_capacity(1 + position.len() + MAC_BYTES);
        token.push(VERSION);
        token.extend_from_slice(position);
        let tag = self.tag(bound_to, position).finalize().into_bytes();
        token.extend_from_slice(&tag[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The position in a token that came with a request; `None` for the first page.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, reason PAGE_TOKEN_INVALID, when the token is not ours, was changed, or is
    /// for another list.
    pub fn position(&self, bound_to: &[&str], token: &str) -> Result<Option<Vec<u8>>, RichError> {
        if token.is_empty() {
            return Ok(None);
        }
        self.open(bound_to, token).map(Some).ok_or_else(|| {
            let problem = "not a token of this list; begin again without one";
            RichError::new(Code::InvalidArgument, Reason::PageTokenInvalid, problem)
                .field("page_token", problem)
                .fixable_by(FixableBy::User)
        })
    }

    fn open(&self, bound_to: &[&str], token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (position, tag) = rest.split_at_checked(rest.len().checked_sub(MAC_BYTES)?)?;
        let verified = self
            .tag(bound_to, position)
            .verify_truncated_left(tag)
            .is_ok();
        (version == VERSION && verified).then(|| position.to_vec())
    }

    /// Every part goes in with its length, so that no two lists of parts look alike.
    fn tag(&self, bound_to: &[&str], position: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&[VERSION]);
        for part in bound_to
            .iter()
            .map(|part| part.as_bytes())
            .chain([position])
        {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorView;

    proptest! {
        #[test]
        fn any_position_comes_back_and_any_other_text_is_refused(
            position in proptest::collection::vec(any::<u8>(), 0..200),
            filter in "\\PC{0,30}",
            garbage in "\\PC{1,60}",
        ) {
            let pager = Pager::with_key(&[1; 32]);
            let bound_to = ["List", filter.as_str()];
            let token = pager.token(&bound_to, &position);
            let back = pager.position(&bound_to, &token).ok().flatten();
            prop_assert_eq!(back, Some(position));
            prop_assert!(pager.position(&bound_to, &garbage).is_err());
            prop_assert!(pager.position(&["List", filter.as_str(), ""], &token).is_err());
        }
    }

    const LIST: &[&str] = &["ListConnectors", "users/ada", "state = READY"];

    #[test]
    fn a_token_leads_back_to_its_position() {
        let pager = Pager::for_process();
        for position in [&b""[..], b"github", &[0; 300]] {
            let token = pager.token(LIST, position);
            assert!(
                token
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            );
            assert_eq!(
                pager.position(LIST, &token).expect("ours").as_deref(),
                Some(position)
            );
        }
        assert_eq!(pager.position(LIST, "").expect("first page"), None);
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let pager = Pager::for_process();
        let token = pager.token(LIST, b"github");
        let others: [&[&str]; 5] = [
            &["ListConnectors", "users/ada", "state = ERROR"],
            &["ListConnectors", "users/bob", "state = READY"],
            &["ListConnectors", "users/ada"],
            &["ListConnectors", "users/adastate = READY"],
            &["ListConnectors", "users/a", "dastate = READY"],
        ];
        for other in others {
            let status = pager
                .position(other, &token)
                .expect_err("refused")
                .into_status();
            assert_eq!(status.code(), Code::InvalidArgument);
            let view = ErrorView::of(&status).expect("ours");
            assert_eq!(view.reason, "PAGE_TOKEN_INVALID");
            assert_eq!(view.fields[0].0, "page_token");
        }
        assert!(
            Pager::for_process().position(LIST, &token).is_err(),
            "another key"
        );
    }

    #[test]
    fn changing_any_character_of_a_token_is_noticed() {
        let pager = Pager::with_key(&[7; 32]);
        let token = pager.token(LIST, b"github");
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).expect("text");
            assert!(pager.position(LIST, &forged).is_err(), "{index}");
        }
        for garbage in ["x", "!!!!", "AQ", &"A".repeat(5_000)] {
            assert!(pager.position(LIST, garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn page_sizes_have_a_default_and_a_maximum() {
        assert_eq!(page_size(0, 50, 200).expect("size"), 50);
        assert_eq!(page_size(7, 50, 200).expect("size"), 7);
        assert_eq!(page_size(i32::MAX, 50, 200).expect("size"), 200);
        let status = page_size(-1, 50, 200).expect_err("refused").into_status();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
