//! What the environment may tell the tests. Everything has a default, so that `cargo nextest run` just works.
//! (Where PostgreSQL is, the crate `database` reads by itself.)

use std::time::Duration;

/// How long the chaos of the `soak` module lasts: `PATCHBAY_TEST_SOAK_SECONDS`, else ten seconds.
#[must_use]
pub fn soak_time() -> Duration {
    Duration::from_secs(number("PATCHBAY_TEST_SOAK_SECONDS").unwrap_or(10))
}

/// What the chaos of the `soak` module is made from: `PATCHBAY_TEST_SOAK_SEED`, else another one each time. It is
/// printed, so that a failure can be repeated.
#[must_use]
pub fn soak_seed() -> u64 {
    number("PATCHBAY_TEST_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1)
}

fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "this is the tests' config.rs")]
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok())
}
