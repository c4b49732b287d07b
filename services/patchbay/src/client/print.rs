//! Where answers go: standard output, as a table for people or as the answer's JSON for programs.

use std::io::{self, Write as _};

use chrono::{DateTime, SecondsFormat};
use prost::Message;

use crate::cli::Output;
use crate::client::json::Json;
use crate::failure::Failure;

/// Prints answers in the form the caller asked for.
#[derive(Debug)]
pub(crate) struct Printer {
    output: Output,
    json: Json,
}

impl Printer {
    /// A printer to standard output.
    pub(crate) fn new(output: Output) -> anyhow::Result<Self> {
        Ok(Self {
            output,
            json: Json::new()?,
        })
    }

    /// The form in use.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// Prints the answer of a call: `full_name` is the message's, `text` makes the form for people.
    pub(crate) fn answer<M: Message>(
        &self,
        full_name: &str,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        match self.output {
            Output::Table => say(&text(message)),
            Output::Json => say(&format!("{}\n", self.json.pretty(full_name, message)?)),
        }
    }

    /// Prints one message of a stream, in one line of JSON for programs.
    pub(crate) fn event<M: Message>(
        &self,
        full_name: &str,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        match self.output {
            Output::Table => say(&text(message)),
            Output::Json => say(&format!("{}\n", self.json.line(full_name, message)?)),
        }
    }
}

/// Writes to standard output at once; a reader that went away is an error that `main` keeps quiet about.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A time for people: UTC, to the second. Empty if there is none.
pub(crate) fn time(timestamp: Option<&prost_types::Timestamp>) -> String {
    let time = timestamp.and_then(|at| {
        DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).unwrap_or_default())
    });
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}

/// A duration for people, in milliseconds. Empty if there is none.
pub(crate) fn milliseconds(duration: Option<&prost_types::Duration>) -> String {
    duration
        .and_then(|duration| std::time::Duration::try_from(*duration).ok())
        .map(|duration| format!("{:.1} ms", duration.as_secs_f64() * 1000.0))
        .unwrap_or_default()
}

/// A number for people; empty for zero, which says nothing.
pub(crate) fn count(number: impl Into<i64>) -> String {
    match number.into() {
        0 => String::new(),
        number => number.to_string(),
    }
}

/// An enum value without the prefix that its type gives it: `CONNECTOR_STATE_READY` is `READY`.
pub(crate) fn short(value: &'static str, prefix: &str) -> &'static str {
    match value.strip_prefix(prefix) {
        Some("UNSPECIFIED") => "",
        Some(short) => short,
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        let at = prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 5,
        };
        assert_eq!(time(Some(&at)), "2023-11-14T22:13:20Z");
        assert_eq!(time(None), "");
        let took = prost_types::Duration {
            seconds: 0,
            nanos: 1_250_000,
        };
        assert_eq!(milliseconds(Some(&took)), "1.2 ms");
        assert_eq!(count(0_u32), "");
        assert_eq!(count(7_u32), "7");
        assert_eq!(short("CONNECTOR_STATE_READY", "CONNECTOR_STATE_"), "READY");
        assert_eq!(short("CONNECTOR_STATE_UNSPECIFIED", "CONNECTOR_STATE_"), "");
    }
}
