//! Developer commands: `cargo xtask test` is what a newcomer runs second, and what CI runs.
//!
//! Nothing here is shipped, nothing here imports another crate of ours, and nothing here decides what
//! a test means: it only puts the pieces in place, runs the gates in one order, and says how long each took.

use std::process::ExitCode;

use clap::Parser;

mod console;
mod gates;
mod lint;
mod nextest;
mod postgres;
mod servers;
mod soak;
mod verify;
mod workspace;

use workspace::Workspace;

/// Developer commands of the Patchbay workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    /// Fail where a developer would go on with less (`cargo test` for nextest). CI systems set this variable themselves.
    #[arg(long, global = true, env = "CI", value_parser = clap::builder::FalseyValueParser::new())]
    ci: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Formatting, build, every test, clippy, and the checks of protos and compose file.
    Test(verify::Arguments),
    /// Only what needs no test run: formatting, clippy, buf, compose file, licences.
    Lint,
    /// Install the pinned MCP servers, the conformance suite and buf under `target/tools`.
    RealServers,
    /// Seeded chaos on the whole suite, for at most the time that is given.
    Soak(soak::Arguments),
    /// Every property test with many random inputs.
    Fuzz(soak::FuzzArguments),
}

fn main() -> ExitCode {
    let Arguments { ci, command } = Arguments::parse();
    let outcome = Workspace::find().and_then(|workspace| match command {
        Command::Test(arguments) => verify::run(&workspace, &arguments, ci),
        Command::Lint => lint::run(&workspace),
        Command::RealServers => servers::run(&workspace),
        Command::Soak(arguments) => soak::run(&workspace, &arguments, ci),
        Command::Fuzz(arguments) => soak::fuzz(&workspace, &arguments, ci),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            console::line(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
