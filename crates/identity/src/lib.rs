//! Who is calling and what they may do: bearer tokens, principals, the method table.
//!
//! The invariants: a method without a rule is denied, a denied caller learns nothing about what
//! exists, and raw tokens are never held by the side that verifies them (it has their hashes).
//!
//! Not here: gRPC statuses (`rpc` turns a [`Denial`] into one), the scopes inside a request's body
//! (`rpc::authorise` reads them), and where the rules come from (`contracts` generates them).

mod denial;
mod gate;
mod principal;
mod token;
mod tokens_file;

pub use denial::Denial;
pub use gate::{Admission, Gate};
pub use principal::{Claim, Principal};
pub use token::{TokenError, generate_token, read_token};
pub use tokens_file::{StaticTokens, TokenSpec, TokensFileError, issue_tokens, suite_tokens};
