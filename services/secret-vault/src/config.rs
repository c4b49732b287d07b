//! What the vault is started with: from the command line and the environment, or made in code.
//!
//! All problems are found before any is reported. Nothing here opens a file or a connection.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use database::DatabaseUrl;
use program::{Migrate, Problems, within};

/// Where the vault listens unless told otherwise.
const DEFAULT_PORT: u16 = 7402;
const LEASE_TTL: Duration = Duration::from_secs(60 * 60);

/// What a vault needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to serve on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The vault's own database.
    pub database_url: DatabaseUrl,
    /// The key file. Made when the database holds no keys yet, and never otherwise.
    pub key_file: PathBuf,
    /// The hashes of the tokens that callers prove themselves with.
    pub tokens_file: PathBuf,
    /// How long a lease lives without renewal; at most an hour.
    pub lease_ttl: Duration,
    /// Grants in a second, on average.
    pub grants_per_second: u32,
    /// Grants at once, after a quiet time.
    pub grant_burst: u32,
    /// Whether to bring the schema up to date at start, as `patchbay up` does.
    pub migrate: bool,
}

impl Config {
    /// The defaults: loopback, port 7402, leases of an hour, 500 grants a second, no migration.
    #[must_use]
    pub fn new(
        database_url: DatabaseUrl,
        key_file: impl Into<PathBuf>,
        tokens_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            database_url,
            key_file: key_file.into(),
            tokens_file: tokens_file.into(),
            lease_ttl: LEASE_TTL,
            grants_per_second: 500,
            grant_burst: 5_000,
            migrate: false,
        }
    }
}

/// The effective configuration, for `--check-config`. The database URL prints without its password.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listen,
            database_url,
            key_file,
            tokens_file,
            lease_ttl,
            grants_per_second,
            grant_burst,
            migrate: _,
        } = self;
        writeln!(f, "listen = {listen}")?;
        writeln!(f, "database-url = {database_url}")?;
        writeln!(f, "key-file = {}", key_file.display())?;
        writeln!(f, "tokens-file = {}", tokens_file.display())?;
        writeln!(f, "lease-seconds = {}", lease_ttl.as_secs())?;
        writeln!(f, "grants-per-second = {grants_per_second}")?;
        writeln!(f, "grant-burst = {grant_burst}")
    }
}

/// Keeps the secrets of Patchbay's connectors sealed.
#[derive(Debug, Parser)]
#[command(name = "secret-vault", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) arguments: Arguments,
    #[command(flatten)]
    pub(crate) telemetry: telemetry::Args,
    /// Check the configuration, print it without secrets, and end
    #[arg(long)]
    pub(crate) check_config: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do other than serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Ask the vault at the listen address whether it is ready
    Healthcheck,
    /// Change or show the database schema
    #[command(subcommand)]
    Migrate(Migrate),
}

/// Settings as they were typed. Texts, so that all problems can be reported together.
#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// Address and port to serve on
    #[arg(
        long,
        env = "PATCHBAY_VAULT_LISTEN",
        default_value = "127.0.0.1:7402",
        global = true
    )]
    listen: String,
    /// The vault's own database: sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(
        long,
        env = "PATCHBAY_VAULT_DATABASE_URL",
        hide_env_values = true,
        global = true
    )]
    database_url: Option<String>,
    /// File with the key-encryption key (mode 0600); made when the database is empty
    #[arg(long, env = "PATCHBAY_VAULT_KEY_FILE", global = true)]
    key_file: Option<PathBuf>,
    /// File with the hashes of the callers' tokens
    #[arg(long, env = "PATCHBAY_VAULT_TOKENS_FILE", global = true)]
    tokens_file: Option<PathBuf>,
    /// How long a lease lives without renewal, 10 to 3600
    #[arg(
        long,
        env = "PATCHBAY_VAULT_LEASE_SECONDS",
        default_value = "3600",
        global = true
    )]
    lease_seconds: String,
    /// Grants in a second, on average
    #[arg(
        long,
        env = "PATCHBAY_VAULT_GRANTS_PER_SECOND",
        default_value = "500",
        global = true
    )]
    grants_per_second: String,
    /// Grants at once, after a quiet time
    #[arg(
        long,
        env = "PATCHBAY_VAULT_GRANT_BURST",
        default_value = "5000",
        global = true
    )]
    grant_burst: String,
}

impl Arguments {
    /// The address alone, which is all a health check needs.
    pub(crate) fn listen(&self) -> Result<SocketAddr, Problems> {
        let mut problems = Problems::new();
        problems.note("listen", self.listen.parse()).ok_or(problems)
    }

    /// The database alone, which is all a migration needs.
    pub(crate) fn database_url(&self) -> Result<DatabaseUrl, Problems> {
        let mut problems = Problems::new();
        let url = self.parse_database_url();
        problems.note("database-url", url).ok_or(problems)
    }

    fn parse_database_url(&self) -> Result<DatabaseUrl, String> {
        let text = self.database_url.as_deref().ok_or("is required")?;
        text.parse()
            .map_err(|error: database::DatabaseUrlError| error.to_string())
    }

    /// The whole configuration, or everything that is wrong with it.
    pub(crate) fn config(self) -> Result<Config, Problems> {
        let mut problems = Problems::new();
        let listen = problems.note("listen", self.listen.parse());
        let database_url = problems.note("database-url", self.parse_database_url());
        let key_file = problems.note("key-file", self.key_file.ok_or("is required"));
        let tokens_file = problems.note("tokens-file", self.tokens_file.ok_or("is required"));
        let lease = problems.note("lease-seconds", within(&self.lease_seconds, 10, 3600));
        let rate = problems.note(
            "grants-per-second",
            within(&self.grants_per_second, 1, 100_000),
        );
        let burst = problems.note("grant-burst", within(&self.grant_burst, 1, 1_000_000));
        let (Some(listen), Some(database_url), Some(key_file), Some(tokens_file)) =
            (listen, database_url, key_file, tokens_file)
        else {
            return Err(problems);
        };
        let (Some(lease), Some(grants_per_second), Some(grant_burst)) = (lease, rate, burst) else {
            return Err(problems);
        };
        let lease_ttl = Duration::from_secs(lease.into());
        let defaults = Config::new(database_url, key_file, tokens_file);
        Ok(Config {
            listen,
            lease_ttl,
            grants_per_second,
            grant_burst,
            ..defaults
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, Problems> {
        let words = ["secret-vault"].iter().chain(arguments);
        Cli::try_parse_from(words).unwrap().arguments.config()
    }

    #[test]
    fn all_problems_are_reported_together() {
        let problems = config(&[
            "--listen=nowhere",
            "--database-url=mysql://u:hunter2@h/d",
            "--lease-seconds=3601",
            "--grant-burst=0",
        ]);
        let text = problems.unwrap_err().to_string();
        for setting in [
            "listen",
            "database-url",
            "key-file",
            "tokens-file",
            "lease-seconds",
        ] {
            assert!(
                text.contains(&format!("--{setting}: ")),
                "{setting} in {text}"
            );
        }
        assert!(text.contains("--grant-burst: "));
        assert_eq!(text.lines().count(), 6);
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn the_printed_configuration_shows_no_password() {
        let config = config(&[
            "--database-url=postgres://vault:hunter2@db:5432/vault",
            "--key-file=/k",
            "--tokens-file=/t",
            "--lease-seconds=600",
        ]);
        let config = config.unwrap();
        assert_eq!(config.lease_ttl, Duration::from_secs(600));
        assert!(
            config
                .to_string()
                .contains("postgres://vault:***@db:5432/vault")
        );
        assert!(!format!("{config} {config:?}").contains("hunter2"));
    }

    #[test]
    fn help_documents_every_variable() {
        use clap::CommandFactory as _;
        let help = Cli::command().render_long_help().to_string();
        for name in [
            "LISTEN",
            "DATABASE_URL",
            "KEY_FILE",
            "TOKENS_FILE",
            "LEASE_SECONDS",
        ] {
            assert!(
                help.contains(&format!("PATCHBAY_VAULT_{name}")),
                "{name} in {help}"
            );
        }
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_behind_the_command() {
        let cli = Cli::try_parse_from([
            "secret-vault",
            "migrate",
            "up",
            "--database-url=sqlite:///v",
        ]);
        let cli = cli.unwrap();
        assert_eq!(cli.command, Some(Command::Migrate(Migrate::Up)));
        assert_eq!(
            cli.arguments.database_url().unwrap().to_string(),
            "sqlite:///v"
        );
    }
}
