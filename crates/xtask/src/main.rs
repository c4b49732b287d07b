//! Developer commands: `cargo xtask test` is what a newcomer runs second, and what CI runs.
//!
//! Nothing here is shipped, nothing here imports another crate of ours, and nothing here decides what
//! a test means: it only puts the pieces in place, runs the gates in one order, and says how long each took.

use std::process::ExitCode;

use clap::Parser as _;

mod arguments;
mod console;
mod gates;
mod lint;
mod nextest;
mod postgres;
mod servers;
mod soak;
mod verify;
mod workspace;

use arguments::{Arguments, Command};
use workspace::Workspace;

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
