//! The program's command line: serve, check the configuration, check the health, change the schema.

use std::process::ExitCode;

use anyhow::Context as _;
use migrations::Registry;
use program::Failure;

use crate::app::{App, connect};
use crate::config::{Cli, Command};

const NAME: &str = "connector-registry";

/// Runs the program with the arguments and environment of the process.
#[must_use]
pub fn run() -> ExitCode {
    program::run(execute)
}

async fn execute(cli: Cli) -> Result<(), Failure> {
    let Cli {
        arguments,
        telemetry,
        check_config,
        command,
    } = cli;
    match command {
        Some(Command::Healthcheck) => program::healthcheck(NAME, arguments.listen()?).await,
        Some(Command::Migrate(step)) => {
            let url = arguments.database_url()?;
            let database = connect(url.clone())
                .await
                .with_context(|| format!("the database at {url}"))?;
            program::migrate::<Registry>(database, step).await
        }
        None if check_config => {
            program::say(&arguments.config()?.to_string());
            Ok(())
        }
        None => {
            let start = Box::pin(App::start(arguments.config()?));
            let name = (NAME, env!("CARGO_PKG_VERSION"));
            program::serve(name, telemetry, start, App::early_end, App::stop).await
        }
    }
}
