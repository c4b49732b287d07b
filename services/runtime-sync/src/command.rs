//! The program's command line: serve, check the configuration, check the health.

use std::{net::SocketAddr, process::ExitCode};

use clap::{Parser, Subcommand};
use program::Failure;

use crate::{App, Config};

const NAME: &str = "runtime-sync";

/// Keeps one live session for every enabled connector, and calls their tools.
#[derive(Debug, Parser)]
#[command(name = "runtime-sync", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    telemetry: telemetry::Args,
    /// Check the configuration, print its effective values, and end.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the service that runs with this configuration whether it is ready.
    Healthcheck {
        /// Where it listens.
        #[arg(
            long,
            env = "PATCHBAY_RUNTIME_LISTEN",
            default_value = "127.0.0.1:7403"
        )]
        listen: SocketAddr,
    },
}

/// Runs the program with the arguments and environment of the process.
#[must_use]
pub fn run() -> ExitCode {
    program::run(execute)
}

async fn execute(cli: Cli) -> Result<(), Failure> {
    let Cli {
        config,
        telemetry,
        check_config,
        command,
    } = cli;
    match command {
        Some(Command::Healthcheck { listen }) => program::healthcheck(NAME, listen).await,
        None if check_config => {
            config.check()?;
            program::say(&format!("{}\n", config.describe()));
            Ok(())
        }
        None => {
            config.check()?;
            let name = (NAME, env!("CARGO_PKG_VERSION"));
            let start = Box::pin(App::start(config));
            program::serve(name, telemetry, start, App::early_end, App::stop).await
        }
    }
}
