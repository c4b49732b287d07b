//! How a command ends when it does not succeed: the exit code, and what is printed.
//!
//! Not here: what to do next for each reason (`explain`), the list of exit codes for people (`cli`).

mod explain;

use std::process::ExitCode;

use rpc::error::{ErrorView, code_name};
use serde_json::{Map, Value, json};
use tonic::Status;

use crate::cli::Output;
use crate::client::table::one_line;
use crate::data_folder::DataFolderError;

/// Added to the gRPC status code, as grpcurl does; also the code of a wrong configuration.
const GRPC_BASE: u8 = 64;

/// The end of a command that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong in a way that its grammar cannot tell.
    Usage(String),
    /// The data folder, the token or an address is wrong: what, and what to do.
    Configuration(anyhow::Error),
    /// The command did its work, and the answer, already printed, is no.
    Negative,
    /// The connector, already printed, was stored and did not become connected.
    NotConnected {
        /// Its name.
        connector: String,
    },
    /// A service refused.
    Refused(Box<Status>),
    /// Anything on this machine.
    Other(anyhow::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<DataFolderError> for Failure {
    fn from(error: DataFolderError) -> Self {
        Self::Configuration(error.into())
    }
}

impl Failure {
    /// The exit code; `cli` lists them for people.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::Negative | Self::NotConnected { .. } => 3,
            Self::Configuration(_) => GRPC_BASE,
            // A status of OK is never a failure; a peer that sends one as such is broken.
            Self::Refused(status) => match u8::try_from(i32::from(status.code())) {
                Ok(0) | Err(_) => GRPC_BASE + 2,
                Ok(code) => GRPC_BASE + code,
            },
        }
    }

    /// Whether output ended because its reader went away, as in `patchbay connector list | head -1`.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let broken = |error: &anyhow::Error| {
            let io = error.downcast_ref::<std::io::Error>();
            io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        };
        match self {
            Self::Other(error) => broken(error),
            Self::Usage(_)
            | Self::Configuration(_)
            | Self::Negative
            | Self::NotConnected { .. }
            | Self::Refused(_) => false,
        }
    }

    /// What to print on standard error; nothing if everything has been said.
    pub(crate) fn render(&self, output: Output) -> String {
        match (self, output) {
            (Self::Negative, _) | (Self::NotConnected { .. }, Output::Json) => String::new(),
            (Self::NotConnected { connector }, Output::Table) => {
                let mut text = String::new();
                write_line(
                    &mut text,
                    format_args!("error: {connector} is stored, but not connected"),
                );
                let next = format_args!(
                    "next: `patchbay session get {connector}` shows what is wrong with it; it is tried again by \
                     itself where that can help; `patchbay connector rm {connector}` deletes it"
                );
                write_line(&mut text, next);
                text
            }
            (Self::Refused(status), Output::Table) => refused_text(status),
            (Self::Refused(status), Output::Json) => json_line(refused_json(status)),
            (Self::Usage(text), Output::Table) => {
                format!("error: {text}\n\nFor more information, try '--help'.\n")
            }
            (Self::Usage(text), Output::Json) => local_json("USAGE", text, ""),
            (Self::Configuration(error), Output::Table) => {
                local_text(error, explain::configuration(error))
            }
            (Self::Configuration(error), Output::Json) => local_json(
                "CONFIGURATION",
                &chain(error),
                explain::configuration(error).unwrap_or(""),
            ),
            (Self::Other(error), Output::Table) => local_text(error, explain::local(error)),
            (Self::Other(error), Output::Json) => {
                local_json("LOCAL", &chain(error), explain::local(error).unwrap_or(""))
            }
        }
    }
}

fn local_text(error: &anyhow::Error, next: Option<&str>) -> String {
    let mut text = format!("error: {}\n", chain(error));
    next_line(&mut text, next);
    text
}

/// An error and its causes. Some libraries repeat their cause in their own text: that is said once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn local_json(code: &str, message: &str, next: &str) -> String {
    let mut error = Map::new();
    error.insert("code".into(), code.into());
    error.insert("message".into(), message.into());
    if !next.is_empty() {
        error.insert("next".into(), next.into());
    }
    json_line(Value::Object(error))
}

fn json_line(error: Value) -> String {
    format!("{}\n", json!({ "error": error }))
}

fn next_line(text: &mut String, next: Option<&str>) {
    if let Some(next) = next {
        write_line(text, format_args!("next: {next}"));
    }
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Parts of it may come from an MCP server.
    text.push_str(&one_line(&line.to_string()));
    text.push('\n');
}

/// `error: NOT_FOUND (CONNECTOR_NOT_FOUND): …`, then what is wrong in detail, then what to do.
fn refused_text(status: &Status) -> String {
    let ErrorView {
        reason,
        metadata,
        fields,
        preconditions,
        quotas,
        retry_after,
        resource: _,
    } = ErrorView::of(status).unwrap_or_default();
    let code = code_name(status.code());
    let label = if reason.is_empty() {
        code.to_owned()
    } else {
        format!("{code} ({reason})")
    };
    let message = match status.message() {
        "" => "the service gave no message",
        message => message,
    };
    let mut text = String::new();
    write_line(&mut text, format_args!("error: {label}: {message}"));
    for (field, problem) in &fields {
        write_line(&mut text, format_args!("  {field}: {problem}"));
    }
    for (_, subject, problem) in &preconditions {
        write_line(&mut text, format_args!("  {subject}: {problem}"));
    }
    for (subject, problem) in &quotas {
        write_line(&mut text, format_args!("  {subject}: {problem}"));
    }
    for (name, value) in &metadata {
        write_line(&mut text, format_args!("  {name}: {value}"));
    }
    if let Some(delay) = retry_after {
        write_line(&mut text, format_args!("  retry after: {delay:?}"));
    }
    next_line(&mut text, explain::refused(status.code(), &reason));
    text
}

fn refused_json(status: &Status) -> Value {
    let ErrorView {
        reason,
        metadata,
        fields,
        preconditions,
        quotas,
        retry_after,
        resource: _,
    } = ErrorView::of(status).unwrap_or_default();
    let mut error = Map::new();
    let mut insert = |name: &str, value: Value| {
        let empty = value.as_str().is_some_and(str::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        if !empty {
            error.insert(name.to_owned(), value);
        }
    };
    insert("code", code_name(status.code()).into());
    insert("reason", reason.clone().into());
    insert("message", status.message().into());
    insert("metadata", json!(metadata));
    let fields = fields
        .iter()
        .map(|(field, problem)| json!({"field": field, "problem": problem}));
    insert("fieldViolations", fields.collect());
    let preconditions = preconditions.iter().map(
        |(kind, subject, problem)| json!({"type": kind, "subject": subject, "problem": problem}),
    );
    insert("preconditionViolations", preconditions.collect());
    let quotas = quotas
        .iter()
        .map(|(subject, problem)| json!({"subject": subject, "problem": problem}));
    insert("quotaViolations", quotas.collect());
    if let Some(delay) = retry_after {
        insert("retryAfterSeconds", delay.as_secs_f64().into());
    }
    insert(
        "next",
        explain::refused(status.code(), &reason)
            .unwrap_or_default()
            .into(),
    );
    Value::Object(error)
}

#[cfg(test)]
mod tests;
