//! The command-line program: runs the suite in one process, and is a client of a running one.
//!
//! Not here: everything that a command does. This file only starts it and turns its end into an exit code.

mod bench;
mod cli;
mod client;
mod data_folder;
mod demo;
mod failure;
mod suite;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    // Before any thread is started: the guard of a stdio server is single-threaded.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "stdio-guard")
    {
        return runtime_sync::stdio_guard::main();
    }
    let cli = Cli::parse();
    let output = cli.global.output;
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_broken_pipe() {
                // There is nowhere left to tell that even this could not be told.
                drop(std::io::stderr().write_all(failure.render(output).as_bytes()));
            }
            failure.exit_code()
        }
    }
}

fn start(cli: Cli) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    // One provider for every TLS stack in the process; a second installation is harmless.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let Cli { global, command } = cli;
    runtime.block_on(async {
        match command {
            Command::Up(arguments) => Box::pin(up::run(&global, arguments, &program)).await,
            Command::Bench(arguments) => Box::pin(bench::run(&global, arguments, &program)).await,
            Command::DemoServer(arguments) => demo::serve(arguments).await,
            Command::Client(command) => client::run(&global, command).await,
        }
    })
}
