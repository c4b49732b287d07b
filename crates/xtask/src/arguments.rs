//! The command line of `cargo xtask`. What the commands do is in modules of their own.

use clap::Parser;

use crate::{soak, verify};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    version,
    about = "Developer commands of the Patchbay workspace"
)]
pub(crate) struct Arguments {
    /// Fail where a developer would go on with less (`cargo test` for nextest).
    #[arg(long, global = true, env = "CI", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) ci: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
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
