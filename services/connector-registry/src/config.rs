//! What the registry is started with: from the command line and the environment, or made in code.
//!
//! All problems are found before any is reported. Nothing here opens a file or a connection; what is printed holds no
//! secret, because tokens are given as files and the database URL prints without its password.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use database::DatabaseUrl;
use policy::Policy;
use program::{Migrate, PolicyChoice, Problems, within};

use crate::registry::Settings;

/// Where the registry listens unless told otherwise.
const DEFAULT_PORT: u16 = 7401;
const DEFAULT_VAULT: &str = "http://127.0.0.1:7402";

/// What a registry needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to serve on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The registry's own database.
    pub database_url: DatabaseUrl,
    /// The hashes of the tokens that callers prove themselves with.
    pub tokens_file: PathBuf,
    /// The registry's own token, for the vault.
    pub token_file: PathBuf,
    /// The secret-vault.
    pub vault_address: String,
    /// Which URLs and commands scopes may use.
    pub policy: Policy,
    /// How many connectors a user may have.
    pub user_quota: u32,
    /// How many connectors a project may have.
    pub project_quota: u32,
    /// How long a runtime counts as present after a report.
    pub presence: Duration,
    /// After how long a creation that has not ended is cleared away.
    pub provisioning: Duration,
    /// How long deletions can be caught up with by watchers.
    pub retention: Duration,
    /// How often a watch shows that it is alive, at most every 30 s.
    pub progress: Duration,
    /// How long a watcher may take to read on.
    pub slow_reader: Duration,
    /// Whether to bring the schema up to date at start, as `patchbay up` does.
    pub migrate: bool,
}

impl Config {
    /// The defaults: loopback, port 7401, the vault on 7402, the narrow policy, no migration. The registry's own token
    /// is looked for where the suite's data folder has it, beside the tokens file.
    #[must_use]
    pub fn new(database_url: DatabaseUrl, tokens_file: impl Into<PathBuf>) -> Self {
        let tokens_file = tokens_file.into();
        let settings = Settings::default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            database_url,
            token_file: tokens_file
                .with_file_name("tokens")
                .join("connector-registry"),
            tokens_file,
            vault_address: DEFAULT_VAULT.to_owned(),
            policy: settings.policy,
            user_quota: settings.quotas.user,
            project_quota: settings.quotas.project,
            presence: settings.presence,
            provisioning: settings.provisioning,
            retention: settings.deletions,
            progress: settings.progress,
            slow_reader: settings.slow_reader,
            migrate: false,
        }
    }
}

/// The effective configuration, for `--check-config`.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listen,
            database_url,
            tokens_file,
            token_file,
            vault_address,
            policy,
            user_quota,
            project_quota,
            presence,
            provisioning,
            retention,
            progress,
            slow_reader,
            migrate: _,
        } = self;
        let policy = if *policy == Policy::default() {
            "default"
        } else {
            "local"
        };
        writeln!(f, "listen = {listen}")?;
        writeln!(f, "database-url = {database_url}")?;
        writeln!(f, "tokens-file = {}", tokens_file.display())?;
        writeln!(f, "token-file = {}", token_file.display())?;
        writeln!(f, "vault-address = {vault_address}")?;
        writeln!(f, "policy = {policy}")?;
        writeln!(f, "user-quota = {user_quota}")?;
        writeln!(f, "project-quota = {project_quota}")?;
        writeln!(f, "presence-seconds = {}", presence.as_secs())?;
        writeln!(f, "provisioning-seconds = {}", provisioning.as_secs())?;
        writeln!(f, "retention-seconds = {}", retention.as_secs())?;
        writeln!(f, "progress-seconds = {}", progress.as_secs())?;
        writeln!(f, "slow-reader-seconds = {}", slow_reader.as_secs())
    }
}

/// The system of record for Patchbay's connectors.
#[derive(Debug, Parser)]
#[command(name = "connector-registry", version)]
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
    /// Ask the registry at the listen address whether it is ready
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
        env = "PATCHBAY_REGISTRY_LISTEN",
        default_value = "127.0.0.1:7401",
        global = true
    )]
    listen: String,
    /// The registry's own database: sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_DATABASE_URL",
        hide_env_values = true,
        global = true
    )]
    database_url: Option<String>,
    /// File with the hashes of the callers' tokens
    #[arg(long, env = "PATCHBAY_REGISTRY_TOKENS_FILE", global = true)]
    tokens_file: Option<PathBuf>,
    /// File with the registry's own token
    #[arg(long, env = "PATCHBAY_REGISTRY_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// The secret-vault
    #[arg(long, env = "PATCHBAY_REGISTRY_VAULT_ADDRESS", default_value = DEFAULT_VAULT, global = true)]
    vault_address: String,
    /// Which URLs and commands connectors may use
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_POLICY",
        value_enum,
        default_value = "default",
        global = true
    )]
    policy: PolicyChoice,
    /// Connectors of one user
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_USER_QUOTA",
        default_value = "10",
        global = true
    )]
    user_quota: String,
    /// Connectors of one project
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_PROJECT_QUOTA",
        default_value = "50",
        global = true
    )]
    project_quota: String,
    /// How long a runtime counts as present after a report, 5 to 600
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_PRESENCE_SECONDS",
        default_value = "30",
        global = true
    )]
    presence_seconds: String,
    /// After how long an unfinished creation is cleared away, 60 to 3600
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_PROVISIONING_SECONDS",
        default_value = "300",
        global = true
    )]
    provisioning_seconds: String,
    /// How long watchers can catch up with deletions, 60 to 2592000
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_RETENTION_SECONDS",
        default_value = "86400",
        global = true
    )]
    retention_seconds: String,
    /// How long a watcher may take to read on, 1 to 300
    #[arg(
        long,
        env = "PATCHBAY_REGISTRY_SLOW_READER_SECONDS",
        default_value = "10",
        global = true
    )]
    slow_reader_seconds: String,
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
        let tokens_file = problems.note("tokens-file", self.tokens_file.ok_or("is required"));
        let token_file = problems.note("token-file", self.token_file.ok_or("is required"));
        let mut number =
            |setting, text: &str, least, most| problems.note(setting, within(text, least, most));
        let user_quota = number("user-quota", &self.user_quota, 0, 100_000);
        let project_quota = number("project-quota", &self.project_quota, 0, 100_000);
        let presence = number("presence-seconds", &self.presence_seconds, 5, 600);
        let provisioning = number(
            "provisioning-seconds",
            &self.provisioning_seconds,
            60,
            3_600,
        );
        let retention = number("retention-seconds", &self.retention_seconds, 60, 2_592_000);
        let slow_reader = number("slow-reader-seconds", &self.slow_reader_seconds, 1, 300);
        let (Some(listen), Some(database_url), Some(tokens_file), Some(token_file)) =
            (listen, database_url, tokens_file, token_file)
        else {
            return Err(problems);
        };
        let (Some(user_quota), Some(project_quota), Some(presence)) =
            (user_quota, project_quota, presence)
        else {
            return Err(problems);
        };
        let (Some(provisioning), Some(retention), Some(slow_reader)) =
            (provisioning, retention, slow_reader)
        else {
            return Err(problems);
        };
        let policy = self.policy.policy();
        let seconds = |number: u32| Duration::from_secs(number.into());
        Ok(Config {
            listen,
            token_file,
            vault_address: self.vault_address,
            policy,
            user_quota,
            project_quota,
            presence: seconds(presence),
            provisioning: seconds(provisioning),
            retention: seconds(retention),
            slow_reader: seconds(slow_reader),
            ..Config::new(database_url, tokens_file)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: [&str; 3] = [
        "--database-url=postgres://registry:hunter2@db:5432/registry",
        "--tokens-file=/t",
        "--token-file=/o",
    ];

    fn config(arguments: &[&str]) -> Result<Config, Problems> {
        let words = ["connector-registry"].iter().chain(arguments);
        Cli::try_parse_from(words)
            .expect("known arguments")
            .arguments
            .config()
    }

    #[test]
    fn all_problems_are_reported_together() {
        let problems = config(&[
            "--listen=nowhere",
            "--database-url=mysql://u:hunter2@h/d",
            "--presence-seconds=1",
        ]);
        let text = problems.expect_err("problems").to_string();
        for setting in [
            "listen",
            "database-url",
            "tokens-file",
            "token-file",
            "presence-seconds",
        ] {
            assert!(
                text.contains(&format!("--{setting}: ")),
                "{setting} in {text}"
            );
        }
        assert_eq!(text.lines().count(), 5);
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn the_printed_configuration_shows_no_password() {
        let config = config(&REQUIRED).expect("valid");
        assert_eq!((config.user_quota, config.project_quota), (10, 50));
        assert_eq!(config.policy, Policy::default());
        assert!(
            config
                .to_string()
                .contains("postgres://registry:***@db:5432/registry")
        );
        assert!(!format!("{config} {config:?}").contains("hunter2"));
    }

    #[test]
    fn the_wide_policy_has_to_be_asked_for() {
        let config = config(&[&REQUIRED[..], &["--policy=local"]].concat()).expect("valid");
        assert_eq!(config.policy, Policy::local());
    }

    #[test]
    fn help_documents_every_variable() {
        use clap::CommandFactory as _;
        let help = Cli::command().render_long_help().to_string();
        for name in [
            "LISTEN",
            "DATABASE_URL",
            "TOKENS_FILE",
            "TOKEN_FILE",
            "VAULT_ADDRESS",
            "POLICY",
            "USER_QUOTA",
        ] {
            assert!(
                help.contains(&format!("PATCHBAY_REGISTRY_{name}")),
                "{name} in {help}"
            );
        }
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_behind_the_command() {
        let words = [
            "connector-registry",
            "migrate",
            "up",
            "--database-url=sqlite:///r",
        ];
        let cli = Cli::try_parse_from(words).expect("known arguments");
        assert_eq!(cli.command, Some(Command::Migrate(Migrate::Up)));
        assert_eq!(
            cli.arguments.database_url().expect("given").to_string(),
            "sqlite:///r"
        );
    }
}
