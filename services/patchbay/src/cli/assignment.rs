//! `K=V` and `K=@FILE`: values on the command line, and secrets that must not stand there.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

/// `K=V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// `K=@FILE`, `K=@-`, or `K=PREFIX@FILE` with a prefix that is no secret, for example `Bearer `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretAssignment {
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) source: SecretSource,
}

/// Where a secret value is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    StandardInput,
    File(PathBuf),
}

/// Why an argument is not an assignment. Never repeats a value, which may be a secret put in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAssignment {
    #[error("expected NAME=VALUE")]
    NoName,
    #[error(
        "expected NAME=@FILE (or NAME=@- for standard input): a secret on the command line can be read by \
         every program on this machine"
    )]
    NotAFile,
}

fn name_and_rest(text: &str) -> Result<(String, &str), InvalidAssignment> {
    match text.split_once('=') {
        Some((name, rest)) if !name.is_empty() => Ok((name.to_owned(), rest)),
        Some(_) | None => Err(InvalidAssignment::NoName),
    }
}

impl FromStr for Assignment {
    type Err = InvalidAssignment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = name_and_rest(text)?;
        Ok(Self {
            name,
            value: value.to_owned(),
        })
    }
}

impl FromStr for SecretAssignment {
    type Err = InvalidAssignment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = name_and_rest(text)?;
        let (prefix, file) = rest.split_once('@').ok_or(InvalidAssignment::NotAFile)?;
        let source = match file {
            "" => return Err(InvalidAssignment::NotAFile),
            "-" => SecretSource::StandardInput,
            path => SecretSource::File(path.into()),
        };
        Ok(Self {
            name,
            prefix: prefix.to_owned(),
            source,
        })
    }
}

/// Reads a [`SecretAssignment`] from the command line. clap's own parsers repeat a wrong value in their
/// error, and a wrong value here is a secret in the wrong place.
#[derive(Debug, Clone)]
pub(crate) struct SecretAssignmentParser;

impl TypedValueParser for SecretAssignmentParser {
    type Value = SecretAssignment;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<SecretAssignment, clap::Error> {
        let parsed = value
            .to_str()
            .ok_or(InvalidAssignment::NotAFile)
            .and_then(str::parse);
        parsed.map_err(|problem| {
            let argument = argument.map(ToString::to_string).unwrap_or_default();
            let text = format!("{argument}: {problem}\n");
            clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(command)
        })
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandardInput => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_equals_signs_and_be_empty() {
        let parsed: Assignment = "A=b=c".parse().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.value.as_str()), ("A", "b=c"));
        assert_eq!("A=".parse::<Assignment>().unwrap().value, "");
        for text in ["A", "=b", ""] {
            assert_eq!(
                text.parse::<Assignment>(),
                Err(InvalidAssignment::NoName),
                "{text}"
            );
        }
    }

    #[test]
    fn a_secret_names_a_file_or_standard_input() {
        let parsed: SecretAssignment = "TOKEN=@/run/token".parse().unwrap();
        assert_eq!(parsed.source, SecretSource::File("/run/token".into()));
        assert_eq!(parsed.prefix, "");
        let parsed: SecretAssignment = "TOKEN=@-".parse().unwrap();
        assert_eq!(parsed.source, SecretSource::StandardInput);
        let parsed: SecretAssignment = "Authorization=Bearer @a@b".parse().unwrap();
        assert_eq!(parsed.prefix, "Bearer ");
        assert_eq!(parsed.source, SecretSource::File("a@b".into()));
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
        for text in ["TOKEN=hunter2", "TOKEN=hunter2@"] {
            let error = text.parse::<SecretAssignment>().unwrap_err();
            assert_eq!(error, InvalidAssignment::NotAFile);
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
