//! Programs that are started: the form in which a command is judged and run, and the texts that stand for one in a
//! destination.
//!
//! Invariant: whatever decides what a secret variable is used for is in one of the texts; no secret is. Not here:
//! whether a scope may run the command (see [`crate::Policy`]).

use std::{collections::BTreeSet, fmt};

use canonical_json::Canonical;
use serde_json::{Map, Value, json};

use crate::Refusal;

/// A program as a connector starts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program<'a> {
    /// An absolute path or a bare name.
    pub command: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Its variables, in any order, secret ones without their values.
    pub environment: Vec<Variable<'a>>,
    /// Where it is started; empty for a folder of the runtime's choice.
    pub working_directory: &'a str,
}

/// A variable of a program's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// Put in front of the value.
    pub prefix: &'a str,
    /// The rest of the value.
    pub value: VariableValue<'a>,
}

/// The value of a [`Variable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableValue<'a> {
    /// Readable.
    Plain(&'a str),
    /// In the vault. Only the fact counts: a new value goes to the same place.
    Secret,
}

/// `#` and the digest of environment and working directory, or nothing when both are empty.
pub(crate) struct Surroundings(Option<String>);

impl Surroundings {
    pub(crate) fn of(program: &Program<'_>) -> Result<Self, Refusal> {
        let Program {
            command: _,
            arguments: _,
            environment,
            working_directory,
        } = program;
        if environment.is_empty() && working_directory.is_empty() {
            return Ok(Self(None));
        }
        let mut names = BTreeSet::new();
        let mut variables = Map::new();
        for Variable {
            name,
            prefix,
            value,
        } in environment
        {
            if !names.insert(name) {
                return Err(Refusal::InvalidEnvironment);
            }
            let value = match value {
                VariableValue::Plain(plain) => json!({"plain": plain, "prefix": prefix}),
                VariableValue::Secret => json!({"prefix": prefix, "secret": true}),
            };
            variables.insert((*name).to_owned(), value);
        }
        let all = json!({"environment": variables, "working_directory": working_directory});
        if has_nul(&all) {
            return Err(Refusal::InvalidEnvironment);
        }
        let canonical = Canonical::of(all.to_string().as_bytes());
        let canonical = canonical.map_err(|_| Refusal::InvalidEnvironment)?;
        Ok(Self(Some(canonical.sha256_hex())))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.strip_prefix('#') {
            Some(digest) if digest.len() == 64 && digest.bytes().all(digit) => {
                Ok(Self(Some(digest.to_owned())))
            }
            Some(_) | None => Err(Refusal::InvalidEnvironment),
        }
    }
}

impl fmt::Display for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(digest) => write!(f, "#{digest}"),
            None => Ok(()),
        }
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
    }
}

/// A command with its arguments, as an RFC 8785 array.
pub(crate) fn command_line<A: AsRef<str>>(
    command: &str,
    arguments: &[A],
) -> Result<String, Refusal> {
    let command = normalise_command(command)?;
    let arguments = arguments.iter().map(AsRef::as_ref);
    let words: Vec<&str> = std::iter::once(command.as_str()).chain(arguments).collect();
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Refusal::InvalidCommand);
    }
    // For arrays of strings serde_json writes exactly RFC 8785: no spaces, short escapes, lower-case hex.
    Ok(Value::from(words).to_string())
}

/// The form in which a command is judged and run: an absolute path without `.`, `..` and doubled slashes, or a bare
/// name.
///
/// `..` is resolved lexically, so the result may name another file than the kernel would have found behind a symbolic
/// link; since the result is also what is run, that can only make a command fail.
///
/// # Errors
/// [`Refusal::InvalidCommand`] for relative paths, empty names, `.`, `..` and NUL.
pub fn normalise_command(command: &str) -> Result<String, Refusal> {
    if command.contains('\0') || matches!(command, "" | "." | "..") {
        return Err(Refusal::InvalidCommand);
    }
    if !command.contains('/') {
        return Ok(command.to_owned());
    }
    if !command.starts_with('/') {
        return Err(Refusal::InvalidCommand);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in command.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() || command.ends_with('/') {
        return Err(Refusal::InvalidCommand);
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_that_depend_on_where_we_stand_are_refused() {
        for command in [
            "", ".", "..", "./x", "bin/x", "/", "/..", "/bin/", "a\0b", "/a\0b",
        ] {
            assert_eq!(
                normalise_command(command),
                Err(Refusal::InvalidCommand),
                "{command:?}"
            );
        }
        assert_eq!(command_line("x", &["a\0"]), Err(Refusal::InvalidCommand));
        assert_eq!(normalise_command("/../../bin/x").as_deref(), Ok("/bin/x"));
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent_and_leaves_no_dots(path in "/[a-c./]{0,12}[a-c]") {
            let once = normalise_command(&path)?;
            prop_assert_eq!(normalise_command(&once)?, once.clone());
            prop_assert!(once.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")));
        }
    }
}
