//! The program's command line: serve, check the configuration, check the health, change the schema.
//!
//! Exit codes: 0 done, 1 failed, 64 wrong configuration or command line.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use migrations::{Registry, State};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::app::{App, connect};
use crate::config::{Arguments, Cli, Command, Migrate, Problems};

const BAD_CONFIG: u8 = 64;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the program ends with another code than 0.
enum Failure {
    Config(Problems),
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

/// Runs the program with the arguments and environment of the process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
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
        Ok(runtime) => runtime.block_on(execute(cli)),
        Err(error) => Err(Failure::Other(error.into())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(problems)) => {
            say(std::io::stderr(), &problems.to_string());
            ExitCode::from(BAD_CONFIG)
        }
        Err(Failure::Other(error)) => {
            say(std::io::stderr(), &format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn execute(cli: Cli) -> Result<(), Failure> {
    let Cli {
        arguments,
        telemetry,
        check_config,
        command,
    } = cli;
    match command {
        Some(Command::Healthcheck) => healthcheck(&arguments).await,
        Some(Command::Migrate(step)) => migrate(&arguments, step).await,
        None if check_config => {
            say(std::io::stdout(), &arguments.config()?.to_string());
            Ok(())
        }
        None => serve(arguments, telemetry).await,
    }
}

async fn serve(arguments: Arguments, telemetry: telemetry::Args) -> Result<(), Failure> {
    let config = arguments.config()?;
    // One provider for every TLS stack in the process; a second installation is harmless.
    drop(rustls::crypto::ring::default_provider().install_default());
    let options = telemetry.options("connector-registry", env!("CARGO_PKG_VERSION"));
    let _flush_at_the_end = telemetry::init(&options).context("telemetry")?;
    let signal = lifecycle::signals().context("signals")?;
    let app = App::start(config)
        .await
        .context("connector-registry did not start")?;
    let ended = tokio::select! {
        signal = signal => {
            tracing::info!(%signal, "stopping");
            Ok(())
        }
        end = app.early_end() => Err(anyhow::anyhow!("{end}")),
    };
    app.stop().await;
    Ok(ended?)
}

async fn healthcheck(arguments: &Arguments) -> Result<(), Failure> {
    let address = arguments.listen()?;
    let check = async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?;
        let mut client = HealthClient::new(endpoint.connect().await?);
        let request = HealthCheckRequest {
            service: String::new(),
        };
        anyhow::Ok(client.check(request).await?.into_inner().status())
    };
    let status = tokio::time::timeout(HEALTH_TIMEOUT, check)
        .await
        .context("no answer in time")?
        .with_context(|| format!("the registry at {address} does not answer"))?;
    match status {
        ServingStatus::Serving => Ok(()),
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            Err(anyhow::anyhow!("the registry at {address} is not ready").into())
        }
    }
}

async fn migrate(arguments: &Arguments, step: Migrate) -> Result<(), Failure> {
    let url = arguments.database_url()?;
    let database = connect(url.clone())
        .await
        .with_context(|| format!("the database at {url}"))?;
    let connection = database.connection();
    let lines: Vec<String> = match step {
        Migrate::Up => {
            let change = migrations::up::<Registry>(connection)
                .await
                .context("migrate up")?;
            change
                .migrations
                .iter()
                .map(|name| format!("applied {name}"))
                .collect()
        }
        Migrate::Down { steps } => {
            let change = migrations::down::<Registry>(connection, steps)
                .await
                .context("migrate down")?;
            change
                .migrations
                .iter()
                .map(|name| format!("undone {name}"))
                .collect()
        }
        Migrate::Status => {
            let states = migrations::status::<Registry>(connection)
                .await
                .context("migrate status")?;
            states
                .iter()
                .map(|(name, state)| format!("{:8} {name}", label(*state)))
                .collect()
        }
    };
    let text = if lines.is_empty() {
        "nothing to do".to_owned()
    } else {
        lines.join("\n")
    };
    say(std::io::stdout(), &format!("{text}\n"));
    Ok(database.close().await.context("closing the database")?)
}

fn label(state: State) -> &'static str {
    match state {
        State::Applied => "applied",
        State::Pending => "pending",
        State::Unknown => "unknown",
    }
}

/// Writes text out; a reader that has gone away is no error.
fn say(mut to: impl std::io::Write, text: &str) {
    drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}
