//! The configuration: every setting with its variable and default, checked as a whole before anything starts.
//!
//! Invariants: this is the only place that reads the environment; all problems are reported together; what is printed
//! contains no secret, because tokens are given as files.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use program::{PolicyChoice, Problems};

/// Keeps one live session for every enabled connector, and calls their tools.
#[derive(Clone, Debug, Parser)]
#[command(name = "runtime-sync", version)]
pub struct Config {
    /// Where callers reach this service.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_LISTEN",
        default_value = "127.0.0.1:7403"
    )]
    pub listen: SocketAddr,
    /// The connector-registry.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_REGISTRY_ADDRESS",
        default_value = "http://127.0.0.1:7401"
    )]
    pub registry_address: String,
    /// The secret-vault.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_VAULT_ADDRESS",
        default_value = "http://127.0.0.1:7402"
    )]
    pub vault_address: String,
    /// File of the token hashes of those who may call.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_TOKENS_FILE",
        default_value = "patchbay-data/tokens.json"
    )]
    pub tokens_file: PathBuf,
    /// File of this service's own token.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_TOKEN_FILE",
        default_value = "patchbay-data/tokens/runtime-sync"
    )]
    pub token_file: PathBuf,
    /// This runtime's name: a process started again under the same name takes over at once.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_INSTANCE_NAME",
        default_value = "runtime-1"
    )]
    pub instance_name: String,
    /// Which URLs and commands connectors may use.
    #[arg(long, env = "PATCHBAY_RUNTIME_POLICY", value_enum, default_value_t = PolicyChoice::Default)]
    pub policy: PolicyChoice,
    /// The program that is started as `stdio-guard` around every stdio server; this very program unless given.
    #[arg(long, env = "PATCHBAY_RUNTIME_STDIO_GUARD")]
    pub guard: Option<PathBuf>,
    /// Where stdio servers given as a bare name are looked up: their `PATH`.
    #[arg(long, env = "PATCHBAY_RUNTIME_STDIO_PATH", default_value = STDIO_PATH)]
    pub stdio_path: String,
    /// The `HOME` of stdio servers.
    #[arg(long, env = "PATCHBAY_RUNTIME_STDIO_HOME", default_value = STDIO_HOME)]
    pub stdio_home: String,
    /// Times and bounds.
    #[command(flatten)]
    pub tuning: Tuning,
}

const STDIO_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const STDIO_HOME: &str = "/nonexistent";

/// Times and bounds; durations are written as `300ms`, `10s` or `5m`.
#[derive(Clone, Debug, clap::Args)]
pub struct Tuning {
    /// How long connecting may take, handshake included, when the connector does not say.
    #[arg(long, env = "PATCHBAY_RUNTIME_CONNECT_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// How many sessions may be connecting at once.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_CONNECT_CONCURRENCY",
        default_value_t = 32
    )]
    pub connect_concurrency: usize,
    /// The pause before the one quick retry of a failed connection.
    #[arg(long, env = "PATCHBAY_RUNTIME_QUICK_RETRY", default_value = "3s", value_parser = duration)]
    pub quick_retry: Duration,
    /// The first pause after the quick retry; it doubles from there.
    #[arg(long, env = "PATCHBAY_RUNTIME_BACKOFF", default_value = "5s", value_parser = duration)]
    pub backoff: Duration,
    /// The longest pause between attempts to connect.
    #[arg(long, env = "PATCHBAY_RUNTIME_BACKOFF_MAX", default_value = "5m", value_parser = duration)]
    pub backoff_max: Duration,
    /// How often a session's server is probed.
    #[arg(long, env = "PATCHBAY_RUNTIME_PROBE_INTERVAL", default_value = "30s", value_parser = duration)]
    pub probe_interval: Duration,
    /// How long a probe may take.
    #[arg(long, env = "PATCHBAY_RUNTIME_PROBE_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub probe_timeout: Duration,
    /// How often the tools are read anew without a reason.
    #[arg(long, env = "PATCHBAY_RUNTIME_SYNC_INTERVAL", default_value = "10m", value_parser = duration)]
    pub sync_interval: Duration,
    /// How long a call may take when neither its caller nor its connector says.
    #[arg(long, env = "PATCHBAY_RUNTIME_CALL_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub call_timeout: Duration,
    /// Calls of one connector that may run at once.
    #[arg(
        long,
        env = "PATCHBAY_RUNTIME_CALLS_PER_CONNECTOR",
        default_value_t = 64
    )]
    pub calls_per_connector: usize,
    /// How long a session may take to end.
    #[arg(long, env = "PATCHBAY_RUNTIME_STOP_GRACE", default_value = "6s", value_parser = duration)]
    pub stop_grace: Duration,
    /// How long a stdio server may take to end once its input is closed, and again once it was told to; together less
    /// than the 2 s in which a disabled connector is to be gone.
    #[arg(long, env = "PATCHBAY_RUNTIME_PROCESS_GRACE", default_value = "900ms", value_parser = duration)]
    pub process_grace: Duration,
    /// How often this runtime says that it is alive.
    #[arg(long, env = "PATCHBAY_RUNTIME_PRESENCE_INTERVAL", default_value = "10s", value_parser = duration)]
    pub presence_interval: Duration,
    /// The first pause before a peer that failed is asked again.
    #[arg(long, env = "PATCHBAY_RUNTIME_PEER_BACKOFF", default_value = "200ms", value_parser = duration)]
    pub peer_backoff: Duration,
    /// For how long calls are taken without news of the registry.
    #[arg(long, env = "PATCHBAY_RUNTIME_STALE_AFTER", default_value = "5m", value_parser = duration)]
    pub stale_after: Duration,
    /// How long the registry's feed may be silent before it is opened anew.
    #[arg(long, env = "PATCHBAY_RUNTIME_FEED_IDLE", default_value = "75s", value_parser = duration)]
    pub feed_idle: Duration,
    /// How often everything is read anew from the registry.
    #[arg(long, env = "PATCHBAY_RUNTIME_FEED_REFRESH", default_value = "5m", value_parser = duration)]
    pub feed_refresh: Duration,
    /// How often what is wanted is compared with what runs, without any news.
    #[arg(long, env = "PATCHBAY_RUNTIME_RECONCILE_INTERVAL", default_value = "30s", value_parser = duration)]
    pub reconcile_interval: Duration,
    /// How long secrets may be used after the end of a lease while the vault cannot be reached.
    #[arg(long, env = "PATCHBAY_RUNTIME_LEASE_GRACE", default_value = "15m", value_parser = duration)]
    pub lease_grace: Duration,
    /// How long calls in flight may go on when this service is told to stop.
    #[arg(long, env = "PATCHBAY_RUNTIME_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub drain_timeout: Duration,
}

impl Default for Config {
    /// The defaults, without reading the command line or the environment.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7403)),
            registry_address: "http://127.0.0.1:7401".to_owned(),
            vault_address: "http://127.0.0.1:7402".to_owned(),
            tokens_file: PathBuf::from("patchbay-data/tokens.json"),
            token_file: PathBuf::from("patchbay-data/tokens/runtime-sync"),
            instance_name: "runtime-1".to_owned(),
            policy: PolicyChoice::Default,
            guard: None,
            stdio_path: STDIO_PATH.to_owned(),
            stdio_home: STDIO_HOME.to_owned(),
            tuning: Tuning::default(),
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        const fn seconds(seconds: u64) -> Duration {
            Duration::from_secs(seconds)
        }
        Self {
            connect_timeout: seconds(10),
            connect_concurrency: 32,
            quick_retry: seconds(3),
            backoff: seconds(5),
            backoff_max: seconds(300),
            probe_interval: seconds(30),
            probe_timeout: seconds(10),
            sync_interval: seconds(600),
            call_timeout: seconds(60),
            calls_per_connector: 64,
            stop_grace: seconds(6),
            process_grace: Duration::from_millis(900),
            presence_interval: seconds(10),
            peer_backoff: Duration::from_millis(200),
            stale_after: seconds(300),
            feed_idle: seconds(75),
            feed_refresh: seconds(300),
            reconcile_interval: seconds(30),
            lease_grace: seconds(900),
            drain_timeout: seconds(10),
        }
    }
}

impl Config {
    /// Checks everything that can be checked before starting.
    ///
    /// # Errors
    /// All problems together.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Problems::new();
        for (name, address) in [
            ("registry-address", &self.registry_address),
            ("vault-address", &self.vault_address),
        ] {
            let valid = url::Url::parse(address)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if !valid {
                problems.add(format!("--{name}: '{address}' is no http or https address"));
            }
        }
        for (name, path) in [
            ("tokens-file", &self.tokens_file),
            ("token-file", &self.token_file),
        ] {
            unreadable(name, path)
                .into_iter()
                .for_each(|problem| problems.add(problem));
        }
        let guard = self.guard.as_ref();
        let guard = guard.and_then(|path| unreadable("stdio-guard", path));
        guard.into_iter().for_each(|problem| problems.add(problem));
        let name = &self.instance_name;
        if name.is_empty() || name.len() > 63 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.add("--instance-name: 1 to 63 printable characters without spaces");
        }
        self.tuning
            .problems()
            .for_each(|problem| problems.add(problem));
        problems.check()
    }

    /// The program that is started as `stdio-guard`.
    #[must_use]
    pub fn guard_program(&self) -> PathBuf {
        // The kernel's own link to this program holds even after an upgrade replaced its file.
        let own = || PathBuf::from("/proc/self/exe");
        self.guard.clone().unwrap_or_else(own)
    }

    /// What every stdio server finds in its environment before its own variables.
    #[must_use]
    pub fn stdio_environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("PATH", self.stdio_path.as_str()),
            ("HOME", self.stdio_home.as_str()),
            ("LANG", "C.UTF-8"),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// The effective values, for people. Holds no secret.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{self:#?}")
    }
}

impl Tuning {
    fn problems(&self) -> impl Iterator<Item = String> {
        let counts = [
            ("connect-concurrency", self.connect_concurrency),
            ("calls-per-connector", self.calls_per_connector),
        ];
        let durations = [
            ("connect-timeout", self.connect_timeout),
            ("backoff", self.backoff),
            ("probe-interval", self.probe_interval),
            ("probe-timeout", self.probe_timeout),
            ("sync-interval", self.sync_interval),
            ("call-timeout", self.call_timeout),
            ("presence-interval", self.presence_interval),
            ("peer-backoff", self.peer_backoff),
            ("stale-after", self.stale_after),
            ("feed-idle", self.feed_idle),
            ("feed-refresh", self.feed_refresh),
            ("reconcile-interval", self.reconcile_interval),
        ];
        let zero_counts = counts.into_iter().filter(|(_, count)| *count == 0);
        let zero_durations = durations
            .into_iter()
            .filter(|(_, duration)| duration.is_zero());
        let names = zero_counts
            .map(|(name, _)| name)
            .chain(zero_durations.map(|(name, _)| name));
        let too_long = (self.call_timeout > Duration::from_secs(900))
            .then(|| "--call-timeout: at most 15m".to_owned());
        names
            .map(|name| format!("--{name}: must be greater than 0"))
            .chain(too_long)
    }
}

fn unreadable(name: &str, path: &Path) -> Option<String> {
    let error = std::fs::File::open(path).err()?;
    Some(format!(
        "--{name}: {} cannot be read: {error}",
        path.display()
    ))
}

/// Reads a duration such as `300ms`, `10s`, `5m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "a duration is a number with a unit, such as 300ms, 10s or 5m".to_owned())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err("the unit of a duration is ms, s, m or h".to_owned()),
    };
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "the duration is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "5d",
            "99999999999999999999h",
            "18446744073709551615h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_problems_are_reported_together() {
        let mut config = Config {
            registry_address: "localhost:7401".to_owned(),
            tokens_file: PathBuf::from("/nonexistent/tokens.json"),
            token_file: PathBuf::from("/nonexistent/token"),
            instance_name: String::new(),
            ..Config::default()
        };
        config.tuning.backoff = Duration::ZERO;
        config.tuning.connect_concurrency = 0;
        let problems = config.check().unwrap_err().to_string();
        assert_eq!(problems.lines().count(), 6, "{problems}");
    }

    #[test]
    fn the_command_lines_defaults_are_those_of_the_code() {
        let parsed = Config::try_parse_from(["runtime-sync"]).unwrap();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Config::default()));
    }
}
