//! The grammar of the command line, which other programs rely on: every argument, its variable in the
//! environment, its help.
//!
//! Not here: what a command does (`up`, `client`, `demo`, `bench`), nor any reading of files.

mod assignment;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use names::{ConnectorName, ScopeSelector};

use assignment::SecretAssignmentParser;
pub(crate) use assignment::{Assignment, SecretAssignment, SecretSource};

/// Shown below `--help`; the numbers are made in `failure`.
const EXIT_CODES: &str = "\
Exit codes:
  0      done
  1      failed on this machine: a file, the network, an interrupted output
  2      the command line is wrong
  3      the answer is no: the tool reported an error, or --wait ended without a connection
  64     the configuration is wrong: the data folder, the token, an address
  64+N   the service answered with gRPC status N: 67 INVALID_ARGUMENT, 68 DEADLINE_EXCEEDED,
         69 NOT_FOUND, 70 ALREADY_EXISTS, 71 PERMISSION_DENIED, 72 RESOURCE_EXHAUSTED,
         73 FAILED_PRECONDITION, 74 ABORTED, 77 INTERNAL, 78 UNAVAILABLE, 79 DATA_LOSS,
         80 UNAUTHENTICATED";

/// Plug in MCP servers and call their tools.
#[derive(Debug, Parser)]
#[command(name = "patchbay", version, about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Folder of the suite: databases, keys, tokens, addresses
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "PATCHBAY_DATA_DIR",
        default_value = "./patchbay-data"
    )]
    pub(crate) data_dir: PathBuf,

    /// How to print answers: tables for people, the answer's protobuf JSON for programs
    #[arg(
        long, global = true, value_enum, value_name = "FORMAT", env = "PATCHBAY_OUTPUT",
        default_value_t = Output::Table, help_heading = "Client options"
    )]
    pub(crate) output: Output,

    /// The connector-registry, instead of the one in the data folder: HOST:PORT or a URL
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "PATCHBAY_REGISTRY",
        help_heading = "Client options"
    )]
    pub(crate) registry: Option<String>,

    /// The runtime-sync, instead of the one in the data folder: HOST:PORT or a URL
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "PATCHBAY_RUNTIME",
        help_heading = "Client options"
    )]
    pub(crate) runtime: Option<String>,

    /// File of the bearer token, instead of tokens/caller in the data folder
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PATCHBAY_TOKEN_FILE",
        help_heading = "Client options"
    )]
    pub(crate) token_file: Option<PathBuf>,

    /// Longest wait for an answer, in seconds
    #[arg(
        long, global = true, value_name = "SECONDS", env = "PATCHBAY_TIMEOUT", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=900), help_heading = "Client options"
    )]
    pub(crate) timeout: u64,
}

/// The form of answers and of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables and sentences.
    Table,
    /// Protobuf JSON; streams print one line per message.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the suite in one process: connector-registry, secret-vault and runtime-sync
    Up(UpArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Measure what a call costs, and what a session costs
    Bench(BenchArgs),
    /// The MCP server of `up --demo` and of the benches
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
}

/// What needs a running suite.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Add, look at and change connectors
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// List and call tools
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Look at the live sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Read a connector's tools from its server now
    Sync {
        /// users/ada/connectors/time
        connector: ConnectorName,
    },
}

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where the connector-registry listens
    #[arg(
        long,
        value_name = "ADDR",
        env = "PATCHBAY_REGISTRY_LISTEN",
        default_value = "127.0.0.1:7401"
    )]
    pub(crate) registry_listen: SocketAddr,

    /// Where the secret-vault listens
    #[arg(
        long,
        value_name = "ADDR",
        env = "PATCHBAY_VAULT_LISTEN",
        default_value = "127.0.0.1:7402"
    )]
    pub(crate) vault_listen: SocketAddr,

    /// Where the runtime-sync listens
    #[arg(
        long,
        value_name = "ADDR",
        env = "PATCHBAY_RUNTIME_LISTEN",
        default_value = "127.0.0.1:7403"
    )]
    pub(crate) runtime_listen: SocketAddr,

    /// Add a connector to a bundled MCP server, call its tools, say what happens, and go on serving
    #[arg(long)]
    pub(crate) demo: bool,

    #[command(flatten)]
    pub(crate) servers: ServerArgs,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// What stdio servers get of this environment; nothing else of it reaches them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerArgs {
    /// The search path of stdio servers: yours, so that they find `npx` and `uvx` where you do
    #[arg(long, value_name = "PATH", env = "PATH", hide_env_values = true)]
    pub(crate) stdio_path: Option<String>,

    /// The home folder of stdio servers: yours, where `npx` and `uvx` keep what they have fetched
    #[arg(long, value_name = "DIR", env = "HOME", hide_env_values = true)]
    pub(crate) stdio_home: Option<String>,
}

/// What `up` logs, on standard error. Unlike a service, which logs for operators, it is quiet unless asked.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What is logged, in the syntax of RUST_LOG, for example `info,runtime_sync=debug`
    #[arg(
        long,
        value_name = "FILTER",
        env = "PATCHBAY_LOG",
        default_value = "warn"
    )]
    pub(crate) log: String,

    /// How log lines look
    #[arg(
        long, value_enum, value_name = "FORMAT", env = "PATCHBAY_LOG_FORMAT",
        default_value_t = telemetry::LogFormat::Text
    )]
    pub(crate) log_format: telemetry::LogFormat,

    /// Where spans go, as OTLP over gRPC, for example `http://localhost:4317`; nowhere if absent
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
}

impl LogArgs {
    /// The options of `telemetry`.
    pub(crate) fn options(&self) -> telemetry::Options {
        telemetry::Options {
            service: "patchbay",
            version: env!("CARGO_PKG_VERSION"),
            format: self.log_format,
            log: self.log.clone(),
            otlp_endpoint: self.otlp_endpoint.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Add a connector
    Add(Box<AddArgs>),
    /// Show one connector
    Get {
        /// users/ada/connectors/time
        connector: ConnectorName,
    },
    /// List the connectors of a scope
    List {
        /// users/ada, or users/- for all users
        scope: ScopeSelector,
        /// AIP-160 filter, for example: condition = ERROR AND labels.env = "prod"
        #[arg(long, value_name = "FILTER")]
        filter: Option<String>,
    },
    /// Give a connector a session
    Enable {
        /// users/ada/connectors/time
        connector: ConnectorName,
    },
    /// End a connector's session; its calls fail at once
    Disable {
        /// users/ada/connectors/time
        connector: ConnectorName,
    },
    /// Delete a connector, its session and its secrets
    Rm {
        /// users/ada/connectors/time
        connector: ConnectorName,
    },
    /// Show the connectors of a scope and then every change, until interrupted
    Watch {
        /// users/ada, or users/- for all users
        scope: ScopeSelector,
    },
}

/// Arguments of `connector add`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("transport").required(true).args(["http", "stdio"]))]
pub(crate) struct AddArgs {
    /// users/ada/connectors/time
    pub(crate) name: ConnectorName,

    /// The server speaks streamable HTTP at this URL
    #[arg(long, value_name = "URL")]
    pub(crate) http: Option<String>,

    /// The server is a program on the runtime's machine: give its command after `--`
    #[arg(long, requires = "command")]
    pub(crate) stdio: bool,

    /// An environment variable of the program
    #[arg(long, value_name = "K=V", conflicts_with = "http")]
    pub(crate) env: Vec<Assignment>,

    /// A header of every request
    #[arg(long, value_name = "K=V", conflicts_with = "stdio")]
    pub(crate) header: Vec<Assignment>,

    /// A secret environment variable; its value is the content of FILE (`-`: standard input)
    #[arg(long, value_name = "K=@FILE", conflicts_with = "http", value_parser = SecretAssignmentParser)]
    pub(crate) secret_env: Vec<SecretAssignment>,

    /// A secret header; `Authorization=Bearer @FILE` keeps the scheme readable, and a scheme that stands
    /// in the file itself is recognised
    #[arg(long, value_name = "K=@FILE", conflicts_with = "stdio", value_parser = SecretAssignmentParser)]
    pub(crate) secret_header: Vec<SecretAssignment>,

    /// The program's working folder, an absolute path; an empty one of its own if absent
    #[arg(long, value_name = "DIR", conflicts_with = "http")]
    pub(crate) working_directory: Option<String>,

    /// A name for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) display_name: Option<String>,

    /// A label for filtering
    #[arg(long, value_name = "K=V")]
    pub(crate) label: Vec<Assignment>,

    /// Store the connector without connecting it
    #[arg(long, conflicts_with = "wait")]
    pub(crate) disabled: bool,

    /// Wait until the connector is connected, or cannot be
    #[arg(long)]
    pub(crate) wait: bool,

    /// The program and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "http")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// List the tools that a connector offers
    List {
        /// users/ada/connectors/time
        connector: ConnectorName,
    },
    /// Call a tool
    Call {
        /// users/ada/connectors/time
        connector: ConnectorName,
        /// The tool's own name
        tool: String,
        /// The arguments, a JSON object, passed on byte for byte; `@FILE` and `@-` read it
        #[arg(long, value_name = "JSON")]
        args: Option<String>,
        /// A UUID for this call; a repeat within ten minutes is not sent again
        #[arg(long, value_name = "UUID")]
        invocation_id: Option<uuid::Uuid>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions of a scope
    List {
        /// users/ada, or users/- for all users
        scope: ScopeSelector,
    },
    /// Show the session of a connector, with its recent health
    Get {
        /// users/ada/connectors/time
        connector: ConnectorName,
    },
    /// Show the sessions of a scope and then every change, until interrupted
    Watch {
        /// users/ada, or users/- for all users
        scope: ScopeSelector,
    },
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BenchCommand>,
    #[command(flatten)]
    pub(crate) calls: BenchCallsArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Calls: a direct rmcp call against the same call through CallTool (the default)
    Calls(BenchCallsArgs),
    /// Sessions: how fast many connectors become READY, and how much memory each costs
    Sessions {
        /// How many connectors
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
        count: u32,
    },
}

/// Arguments of `bench calls`.
#[derive(Debug, Args)]
pub(crate) struct BenchCallsArgs {
    /// How many calls to measure at each concurrency
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(64..=10_000_000))]
    pub(crate) calls: u64,
    /// How many calls at once, for each measurement
    #[arg(
        long, value_delimiter = ',', default_values_t = [1_u64, 16, 64],
        value_parser = clap::value_parser!(u64).range(1..=512)
    )]
    pub(crate) concurrency: Vec<u64>,
}

/// Arguments of the bundled MCP server.
#[derive(Debug, Args)]
pub(crate) struct DemoServerArgs {
    /// What `prove_secret` proves to know
    #[arg(long, env = "PATCHBAY_DEMO_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    /// Serve streamable HTTP here instead of standard input and output; prints the URL
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
}

#[cfg(test)]
mod tests;
