//! Connectors as the registry writes them, read into the runtime's own words.
//!
//! Every message is taken apart whole, so that a new field has to be looked at here. What this release does not know
//! makes one connector `TooNew`; it never fails the feed.

use std::{sync::Arc, time::Duration};

use contracts::registry::v1 as pb;
use names::InvalidName;

use crate::{
    desired::{DesiredConnector, Plan},
    domain::{SessionSpec, Timeouts, TransportSpec, ValueSource, ValueSpec},
};

/// Reads one connector.
///
/// # Errors
/// When its name or uid cannot be read; then there is nothing to hang a status on.
pub(crate) fn connector(connector: pb::Connector) -> Result<DesiredConnector, InvalidName> {
    let pb::Connector {
        name,
        uid,
        display_name: _,
        description: _,
        icon_uri: _,
        transport: wanted,
        timeouts: limits,
        labels: _,
        enabled,
        source: _,
        etag: _,
        revision: _,
        generation,
        policy_generation: _,
        status_revision: _,
        create_time: _,
        update_time: _,
        secrets: _,
        status: _,
    } = connector;
    let (name, uid) = (name.parse()?, uid.parse()?);
    let spec = wanted.and_then(transport).map(|transport| SessionSpec {
        uid,
        name: names::ConnectorName::clone(&name),
        generation,
        transport,
        timeouts: limits.map(timeouts).unwrap_or_default(),
    });
    let plan = match (enabled, spec) {
        (Some(false), _) => Plan::Disabled,
        (Some(true) | None, Some(spec)) => Plan::Session(Arc::new(spec)),
        // A oneof without a known case was written by a newer release.
        (Some(true) | None, None) => Plan::TooNew,
    };
    Ok(DesiredConnector {
        uid,
        name,
        generation,
        plan,
    })
}

fn transport(transport: pb::connector::Transport) -> Option<TransportSpec> {
    match transport {
        pb::connector::Transport::Stdio(pb::StdioTransport {
            command,
            arguments,
            environment,
            working_directory,
        }) => Some(TransportSpec::Stdio {
            command,
            args: arguments,
            env: environment.into_iter().map(value).collect(),
            working_directory: Some(working_directory).filter(|folder| !folder.is_empty()),
        }),
        pb::connector::Transport::StreamableHttp(pb::StreamableHttpTransport { url, headers }) => {
            Some(TransportSpec::Http {
                url,
                headers: headers.into_iter().map(value).collect(),
            })
        }
    }
}

fn value(variable: pb::Variable) -> ValueSpec {
    let pb::Variable {
        name,
        prefix,
        value,
    } = variable;
    let source = match value {
        Some(pb::variable::Value::Plain(value)) => ValueSource::Plain(value),
        // Neither set is how the registry shows a secret.
        Some(pb::variable::Value::Secret(_)) | None => ValueSource::Secret,
    };
    ValueSpec {
        name,
        prefix,
        source,
    }
}

fn timeouts(timeouts: pb::Timeouts) -> Timeouts {
    let pb::Timeouts { connect, call } = timeouts;
    Timeouts {
        connect: connect.and_then(duration),
        call: call.and_then(duration),
    }
}

/// A duration; what is negative or zero is as good as absent.
fn duration(duration: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> pb::Connector {
        pb::Connector {
            name: "users/ada/connectors/time".into(),
            uid: "01932d3c-7a00-7000-8000-000000000001".into(),
            generation: 3,
            transport: Some(pb::connector::Transport::StreamableHttp(
                pb::StreamableHttpTransport {
                    url: "https://mcp.example.com/".into(),
                    headers: vec![
                        pb::Variable {
                            name: "authorization".into(),
                            prefix: "Bearer ".into(),
                            value: None,
                        },
                        pb::Variable {
                            name: "x-region".into(),
                            prefix: String::new(),
                            value: Some(pb::variable::Value::Plain("eu".into())),
                        },
                    ],
                },
            )),
            ..Default::default()
        }
    }

    #[test]
    fn a_value_that_is_not_shown_is_a_secret() {
        let read = connector(stored()).unwrap();
        let Plan::Session(spec) = read.plan else {
            panic!("no session")
        };
        let TransportSpec::Http { headers, .. } = &spec.transport else {
            panic!("not HTTP")
        };
        assert_eq!(headers[0].source, ValueSource::Secret);
        assert_eq!(headers[1].source, ValueSource::Plain("eu".into()));
        assert_eq!(spec.generation, 3);
    }

    #[test]
    fn an_unknown_transport_is_too_new_and_a_disabled_connector_is_just_disabled() {
        let unknown = pb::Connector {
            transport: None,
            ..stored()
        };
        assert_eq!(connector(unknown.clone()).unwrap().plan, Plan::TooNew);
        let disabled = pb::Connector {
            enabled: Some(false),
            ..unknown
        };
        assert_eq!(connector(disabled).unwrap().plan, Plan::Disabled);
    }

    #[test]
    fn a_name_that_cannot_be_read_is_an_error_and_no_panic() {
        let nameless = pb::Connector {
            name: "teams/x/connectors/y".into(),
            ..stored()
        };
        assert!(connector(nameless).is_err());
        assert_eq!(
            duration(prost_types::Duration {
                seconds: -1,
                nanos: 0
            }),
            None
        );
    }
}
