//! How the program of a service runs: command line, configuration check, health check, schema, and
//! the life of the service between its start and a signal.
//!
//! Invariant: exit code 0 means done, 1 failed, 64 a wrong command line or configuration, and all
//! problems of a configuration are reported together. Not here: what a service needs or does.

mod health;
mod policy_choice;
mod problems;
mod schema;
mod serve;

use std::{io, process::ExitCode};

pub use self::{
    health::{healthcheck, watch_database},
    policy_choice::PolicyChoice,
    problems::{Problems, within},
    schema::{Migrate, migrate},
    serve::serve,
};

/// Exit code of a wrong command line or configuration, EX_USAGE of sysexits.h.
const BAD_CONFIG: u8 = 64;

/// Why a program ends with another code than 0.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong: code 64.
    Config(Problems),
    /// Anything else: code 1.
    Other(anyhow::Error),
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Parses the command line of the process and runs `execute` with it, on a runtime of its own.
#[must_use]
pub fn run<C: clap::Parser>(execute: impl AsyncFnOnce(C) -> Result<(), Failure>) -> ExitCode {
    let command_line = match C::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            let code = if error.use_stderr() { BAD_CONFIG } else { 0 };
            drop(error.print()); // Nobody is left to tell when even this cannot be written.
            return ExitCode::from(code);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(execute(command_line)),
        Err(error) => Err(Failure::Other(error.into())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(problems)) => {
            write(io::stderr(), &problems.to_string());
            ExitCode::from(BAD_CONFIG)
        }
        Err(Failure::Other(error)) => {
            write(io::stderr(), &format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Prints text on standard output, as an answer to whoever ran the program.
pub fn say(text: &str) {
    write(io::stdout(), text);
}

/// Writes text out; a reader that has gone away is no error.
fn write(mut to: impl io::Write, text: &str) {
    drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}
