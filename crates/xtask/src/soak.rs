//! `cargo xtask soak`: seeded chaos from the suite's `soak` module, inside a budget of time; and
//! `cargo xtask fuzz`: every property test with many more random inputs than usual.
//!
//! Coverage-guided fuzzing is *not* here: it needs a nightly compiler.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::gates::Gates;
use crate::nextest::{Runner, Selection};
use crate::postgres::Postgres;
use crate::verify;
use crate::workspace::Workspace;

/// CI's limit for the whole second command, build included.
const LONGEST: u64 = 20 * 60;

/// What `cargo xtask soak` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long the chaos lasts, in seconds; divided among the module's tests.
    #[arg(long, default_value_t = Self::DEFAULT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    seconds: u64,
}

impl Arguments {
    const DEFAULT_SECONDS: u64 = 240;
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seconds: Self::DEFAULT_SECONDS,
        }
    }
}

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct FuzzArguments {
    /// How many random inputs each property gets.
    #[arg(long, default_value_t = 20_000)]
    inputs: u32,
}

/// Builds what is needed and runs the chaos.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments, ci: bool) -> Result<ExitCode> {
    let selection = Selection::Soak(Duration::from_secs(arguments.seconds));
    run_alone(workspace, selection, ci)
}

/// Builds what is needed and runs the properties.
pub(crate) fn fuzz(workspace: &Workspace, arguments: &FuzzArguments, ci: bool) -> Result<ExitCode> {
    run_alone(workspace, Selection::Fuzz(arguments.inputs), ci)
}

fn run_alone(workspace: &Workspace, selection: Selection, ci: bool) -> Result<ExitCode> {
    let mut gates = Gates::new();
    if !verify::build(workspace, &mut gates) {
        return Ok(gates.finish());
    }
    let runner = gates.check("test runner", || Runner::find(workspace, ci));
    let postgres = gates.check("PostgreSQL", Postgres::find_or_start);
    if let (Some(runner), Some(postgres)) = (runner, postgres) {
        gates.command(
            selection.name(),
            runner.command(workspace, selection, &postgres),
        );
        gates.check("PostgreSQL stops", || postgres.stop());
    }
    Ok(gates.finish())
}
