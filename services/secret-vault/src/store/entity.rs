//! The tables as sea-orm sees them. See `migrations` for what each column means.

pub(crate) mod keys;
pub(crate) mod releases;
pub(crate) mod secrets;
