//! The program's command line: serve, check the configuration, check the health.
//!
//! Exit codes: 0 done, 1 failed, 64 wrong configuration or command line.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{App, Config, config::ConfigError};

const BAD_CONFIG: u8 = 64;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

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

/// Why the program ends with another code than 0.
enum Failure {
    Config(ConfigError),
    Other(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
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
        Err(Failure::Config(ConfigError { problems })) => {
            for problem in problems {
                say(std::io::stderr(), &format!("error: {problem}\n"));
            }
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
        config,
        telemetry,
        check_config,
        command,
    } = cli;
    match command {
        Some(Command::Healthcheck { listen }) => Ok(healthcheck(listen).await?),
        None if check_config => {
            config.check()?;
            say(std::io::stdout(), &format!("{}\n", config.describe()));
            Ok(())
        }
        None => serve(config, telemetry).await,
    }
}

async fn serve(config: Config, telemetry: telemetry::Args) -> Result<(), Failure> {
    config.check()?;
    let options = telemetry.options("runtime-sync", env!("CARGO_PKG_VERSION"));
    let _flush_at_the_end = telemetry::init(&options).context("telemetry")?;
    let signal = lifecycle::signals().context("signals")?;
    let app = App::start(config)
        .await
        .context("runtime-sync did not start")?;
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

async fn healthcheck(mut address: SocketAddr) -> anyhow::Result<()> {
    if address.ip().is_unspecified() {
        // Who listens everywhere listens on this machine, too.
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
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
        .with_context(|| format!("the runtime at {address} does not answer"))?;
    match status {
        ServingStatus::Serving => Ok(()),
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            anyhow::bail!("the runtime at {address} is not ready")
        }
    }
}

/// Writes text out; a reader that has gone away is no error.
fn say(mut to: impl std::io::Write, text: &str) {
    drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}
