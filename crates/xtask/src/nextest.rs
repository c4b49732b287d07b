//! Which tests run together, and with what: cargo-nextest, or `cargo test` where that is missing.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::console;
use crate::postgres::Postgres;
use crate::workspace::{Workspace, answers};

/// The tests of one invocation.
#[derive(Clone, Copy)]
pub(crate) enum Selection {
    /// All but the two below.
    Everything,
    /// The official client scenarios: they measure time, so they run alone and one by one.
    Conformance,
    /// Seeded chaos, which takes as long as it is given.
    Soak(Duration),
    /// The unit tests, with this many random inputs for each property.
    Fuzz(u32),
}

impl Selection {
    /// The gate's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Everything => "tests",
            Self::Conformance => "conformance",
            Self::Soak(_) => "soak",
            Self::Fuzz(_) => "fuzz",
        }
    }

    fn for_nextest(self) -> &'static [&'static str] {
        const ALL: &str = "not (package(integration-tests) and test(/^(soak|conformance)::/))";
        const CONFORMANCE: &str = "package(integration-tests) and test(/^conformance::/)";
        const SOAK: &str = "package(integration-tests) and test(/^soak::/)";
        const UNITS: &str = "kind(lib) or package(envelope)";
        match self {
            Self::Everything => &["-E", ALL],
            Self::Conformance => &["--test-threads", "1", "-E", CONFORMANCE],
            Self::Soak(_) => &["--profile", "soak", "-E", SOAK],
            Self::Fuzz(_) => &["--profile", "fuzz", "-E", UNITS],
        }
    }

    fn for_cargo(self) -> &'static [&'static str] {
        match self {
            Self::Everything => &["--", "--skip", "soak::", "--skip", "conformance::"],
            Self::Conformance => &[
                "--test",
                "suite",
                "--",
                "conformance::",
                "--test-threads",
                "1",
            ],
            Self::Soak(_) => &["--test", "suite", "--", "soak::", "--nocapture"],
            Self::Fuzz(_) => &["--lib"],
        }
    }
}

/// What runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// One process per test, bounded in time.
    Nextest,
    /// The built-in one: correct, slower, and without a time limit per test.
    Cargo,
}

impl Runner {
    /// Prefers nextest; without it CI fails and a developer goes on with `cargo test`.
    pub(crate) fn find(workspace: &Workspace, ci: bool) -> Result<Self> {
        if answers(&mut workspace.cargo(&["nextest", "--version"])) {
            return Ok(Self::Nextest);
        }
        let advice = "cargo-nextest is not installed: `cargo install cargo-nextest --locked`";
        if ci {
            bail!("{advice}");
        }
        console::line(&format!(
            "{advice}; going on with `cargo test`, which has no time limits"
        ));
        Ok(Self::Cargo)
    }

    /// The command for one selection, with the test database announced to it.
    pub(crate) fn command(
        self,
        workspace: &Workspace,
        selection: Selection,
        postgres: &Postgres,
    ) -> Command {
        let (words, arguments): (&[&str], _) = match self {
            Self::Nextest => (&["nextest", "run"], selection.for_nextest()),
            Self::Cargo => (&["test"], selection.for_cargo()),
        };
        let mut command = workspace.cargo(words);
        command
            .args(["--workspace", "--locked", "--no-fail-fast"])
            .args(arguments);
        command.env("PATCHBAY_TEST_POSTGRES", postgres.url());
        match selection {
            Selection::Everything | Selection::Conformance => {}
            Selection::Soak(time) => {
                command.env("PATCHBAY_TEST_SOAK_SECONDS", time.as_secs().to_string());
            }
            Selection::Fuzz(inputs) => {
                command.env("PROPTEST_CASES", inputs.to_string());
            }
        }
        command
    }
}
