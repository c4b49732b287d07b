//! Puts a spec and the secrets it asks for together into what is dialled.
//!
//! Invariants: a secret the spec names and the vault did not give is an error, never an empty value; values stay in
//! types that wipe themselves. Pure: nothing here fetches or connects.

use std::{collections::HashMap, path::PathBuf};

use http::HeaderName;
use policy::{Destination, Program, Refusal, Variable, VariableValue};
use sensitive::Text;
use url::Url;

use crate::{
    domain::{Reason, TransportSpec, ValueSource, ValueSpec},
    transport::{HttpTarget, StdioTarget, Target},
};

/// Values by name.
pub(super) type Values = HashMap<String, Text>;

/// Where a spec really leads to.
pub(super) fn destination(transport: &TransportSpec) -> Result<Destination, Reason> {
    let destination = match transport {
        TransportSpec::Stdio {
            command,
            args,
            env,
            working_directory,
        } => Destination::program(&Program {
            command,
            arguments: args,
            environment: env.iter().map(variable).collect(),
            working_directory: working_directory.as_deref().unwrap_or_default(),
        }),
        TransportSpec::Http { url, .. } => parse(url).and_then(|url| Destination::remote(&url)),
    };
    destination.map_err(|_| invalid(transport))
}

/// A variable as it counts for the destination: that it is secret, never its secret.
fn variable(spec: &ValueSpec) -> Variable<'_> {
    Variable {
        name: &spec.name,
        prefix: &spec.prefix,
        value: match &spec.source {
            ValueSource::Plain(plain) => VariableValue::Plain(plain),
            ValueSource::Secret => VariableValue::Secret,
        },
    }
}

/// Whether a spec asks for secrets at all.
pub(super) fn asks_for_secrets(transport: &TransportSpec) -> bool {
    let values = match transport {
        TransportSpec::Stdio { env, .. } => env,
        TransportSpec::Http { headers, .. } => headers,
    };
    values
        .iter()
        .any(|value| value.source == ValueSource::Secret)
}

/// What is dialled, values included.
pub(super) fn target(
    transport: &TransportSpec,
    mut environment: Values,
    mut header_values: Values,
) -> Result<Target, Reason> {
    match transport {
        TransportSpec::Stdio {
            command,
            args,
            env,
            working_directory,
        } => {
            let value = |spec: &ValueSpec| {
                let value = value(spec, &mut environment, &spec.name)?;
                Ok((spec.name.clone(), value))
            };
            Ok(Target::Stdio(StdioTarget {
                command: command.clone(),
                args: args.clone(),
                env: env.iter().map(value).collect::<Result<_, Reason>>()?,
                cwd: working_directory.as_ref().map(PathBuf::from),
            }))
        }
        TransportSpec::Http { url, headers } => {
            let value = |spec: &ValueSpec| {
                let name = HeaderName::try_from(&spec.name).map_err(|_| Reason::SpecTooNew)?;
                let value = value(spec, &mut header_values, name.as_str())?;
                Ok((name, value))
            };
            Ok(Target::Http(HttpTarget {
                url: parse(url).map_err(|_| Reason::InvalidUrl)?,
                headers: headers.iter().map(value).collect::<Result<_, Reason>>()?,
            }))
        }
    }
}

/// One value with its prefix.
fn value(spec: &ValueSpec, secrets: &mut Values, name: &str) -> Result<Text, Reason> {
    let ValueSpec { prefix, source, .. } = spec;
    match source {
        ValueSource::Plain(plain) => Ok(Text::new(format!("{prefix}{plain}"))),
        ValueSource::Secret => {
            let secret = secrets.remove(name).ok_or(Reason::SecretMissing)?;
            if prefix.is_empty() {
                return Ok(secret);
            }
            // With room for both, so that no half-filled buffer is left behind.
            let mut text = String::with_capacity(prefix.len() + secret.expose().len());
            text.push_str(prefix);
            text.push_str(secret.expose());
            Ok(Text::new(text))
        }
    }
}

fn parse(url: &str) -> Result<Url, Refusal> {
    Url::parse(url).map_err(|_| Refusal::InvalidUrl)
}

/// The reason for a spec that leads nowhere.
fn invalid(transport: &TransportSpec) -> Reason {
    match transport {
        TransportSpec::Stdio { .. } => Reason::CommandNotFound,
        TransportSpec::Http { .. } => Reason::InvalidUrl,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, prefix: &str, source: ValueSource) -> ValueSpec {
        ValueSpec {
            name: name.into(),
            prefix: prefix.into(),
            source,
        }
    }

    fn http() -> TransportSpec {
        TransportSpec::Http {
            url: "https://mcp.example.com/mcp?x=1".into(),
            headers: vec![
                spec("Authorization", "Bearer ", ValueSource::Secret),
                spec("X-Region", "", ValueSource::Plain("eu".into())),
            ],
        }
    }

    #[test]
    fn secrets_go_behind_their_prefix_and_headers_compare_without_case() {
        let secrets = Values::from([("authorization".to_owned(), Text::new("s3cr3t".into()))]);
        let Ok(Target::Http(target)) = target(&http(), Values::new(), secrets) else {
            panic!("no HTTP target")
        };
        let values: Vec<_> = target
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        assert_eq!(
            values,
            [("authorization", "Bearer s3cr3t"), ("x-region", "eu")]
        );
    }

    #[test]
    fn a_secret_that_did_not_come_is_an_error_and_never_empty() {
        let missing = target(&http(), Values::new(), Values::new());
        assert_eq!(missing.unwrap_err(), Reason::SecretMissing);
        let stdio = TransportSpec::Stdio {
            command: "/bin/server".into(),
            args: Vec::new(),
            env: vec![spec("TOKEN", "", ValueSource::Secret)],
            working_directory: None,
        };
        let other = Values::from([("token".to_owned(), Text::new("x".into()))]);
        assert_eq!(
            target(&stdio, other, Values::new()).unwrap_err(),
            Reason::SecretMissing
        );
        assert!(asks_for_secrets(&stdio));
    }

    #[test]
    fn the_destination_is_that_of_the_spec() {
        let origin = destination(&http()).unwrap();
        assert_eq!(origin.as_str(), "https://mcp.example.com:443");
        let relative = TransportSpec::Stdio {
            command: "./server".into(),
            args: Vec::new(),
            env: Vec::new(),
            working_directory: None,
        };
        assert_eq!(destination(&relative), Err(Reason::CommandNotFound));
    }

    #[test]
    fn all_that_decides_where_a_programs_secrets_go_is_in_its_destination() {
        let stdio = |env, working_directory: Option<&str>| TransportSpec::Stdio {
            command: "npx".into(),
            args: vec!["server".into()],
            env,
            working_directory: working_directory.map(str::to_owned),
        };
        let token = || spec("TOKEN", "", ValueSource::Secret);
        let plain = |value: &str| spec("PROXY", "", ValueSource::Plain(value.into()));
        let specs = [
            stdio(vec![token()], None),
            stdio(vec![token(), plain("a")], None),
            stdio(vec![token(), plain("b")], None),
            stdio(vec![token(), spec("PROXY", "", ValueSource::Secret)], None),
            stdio(vec![spec("TOKEN", "Bearer ", ValueSource::Secret)], None),
            stdio(vec![token()], Some("/srv")),
        ];
        let texts: std::collections::BTreeSet<String> = specs
            .iter()
            .map(|spec| destination(spec).unwrap().to_string())
            .collect();
        assert_eq!(texts.len(), specs.len(), "{texts:#?}");
        let bare = destination(&stdio(Vec::new(), None)).unwrap();
        assert_eq!(bare.as_str(), r#"stdio:["npx","server"]"#);
    }
}
