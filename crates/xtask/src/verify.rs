//! `cargo xtask test`: every gate, in the order that fails soonest and builds everything once.
//!
//! The order matters for time as well: the workspace is built once with all targets, so that neither the
//! test run nor a binary that a test starts is built a second time with other features. Programs
//! from elsewhere are fetched while cargo compiles.

use std::process::ExitCode;
use std::thread;

use anyhow::Result;

use crate::gates::Gates;
use crate::nextest::{Runner, Selection};
use crate::postgres::Postgres;
use crate::workspace::Workspace;
use crate::{console, lint, servers, soak};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run seeded chaos instead of the tests: the second command of CI.
    #[arg(long)]
    soak: bool,
}

/// Runs all gates.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments, ci: bool) -> Result<ExitCode> {
    if arguments.soak {
        return soak::run(workspace, &soak::Arguments::default(), ci);
    }
    let mut gates = Gates::new();
    gates.command("format", workspace.cargo(&["fmt", "--all", "--check"]));
    if build(workspace, &mut gates) {
        tests(workspace, &mut gates, ci);
    } else {
        gates.pointless("tests", "the workspace does not build");
    }
    lint::after_build(workspace, &mut gates);
    Ok(gates.finish())
}

/// Compiles everything while the pinned programs are fetched; both must succeed.
pub(crate) fn build(workspace: &Workspace, gates: &mut Gates) -> bool {
    thread::scope(|scope| {
        let fetched = scope.spawn(|| servers::install(workspace));
        let built = gates.command(
            "build",
            workspace.cargo(&["build", "--workspace", "--all-targets", "--locked"]),
        );
        let installed = gates.check("real servers", || match fetched.join() {
            Ok(outcome) => outcome,
            Err(_) => anyhow::bail!("the installation panicked"),
        });
        // Without them the tests that need them fail one by one, and say so; the others still count.
        if installed.is_none() {
            console::line("the tests against real servers are going to fail");
        }
        built
    })
}

fn tests(workspace: &Workspace, gates: &mut Gates, ci: bool) {
    let Some(runner) = gates.check("test runner", || Runner::find(workspace, ci)) else {
        return;
    };
    let Some(postgres) = gates.check("PostgreSQL", Postgres::find_or_start) else {
        gates.pointless("tests", "they need PostgreSQL");
        return;
    };
    for selection in [Selection::Everything, Selection::Conformance] {
        gates.command(
            selection.name(),
            runner.command(workspace, selection, &postgres),
        );
    }
    gates.check("PostgreSQL stops", || postgres.stop());
}
