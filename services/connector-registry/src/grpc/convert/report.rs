//! The runtime's reports to domain values.
//!
//! What a server wrote (tool names, its own description) is cut to a bounded length or left out, never refused: one odd
//! server must not keep the reports of all others from being taken.

use std::collections::HashSet;

use contracts::registry::v1 as pb;

use super::incoming::uuid_field;
use crate::{
    domain::{
        check,
        definition::{DefinitionHash, MAX_TOOLS},
        state::State,
        status::Detail,
        timestamp::Timestamp,
        violation::{Findings, Violations},
    },
    registry::{Observed, ObservedTool, Runtime},
};

const MAX_CONNECTORS: usize = 256;
const MAX_TOOL_NAME: usize = 1_024;
const MAX_CODE: usize = 64;
const MAX_TEXT: usize = 1_024;

/// A runtime instance.
pub(in crate::grpc) fn runtime(
    instance: Option<pb::RuntimeInstance>,
) -> Result<Runtime, Violations> {
    let instance = instance.ok_or_else(|| Violations::one("instance", "is required"))?;
    let pb::RuntimeInstance {
        instance_id,
        instance_name,
        lease_epoch,
    } = instance;
    let mut findings = Findings::under("instance");
    let id = match uuid_field("instance_id", &instance_id) {
        Ok(Some(id)) => id,
        Ok(None) | Err(_) => {
            findings.add("instance_id", "is a UUID in lower case with hyphens");
            uuid::Uuid::nil()
        }
    };
    if instance_name.is_empty() || check::line(&instance_name, 128).is_err() {
        findings.add("instance_name", "has 1 to 128 printable characters");
    }
    if lease_epoch < 0 {
        findings.add("lease_epoch", "is not negative");
    }
    findings.finish(Runtime {
        name: instance_name,
        id,
        epoch: lease_epoch,
    })
}

/// A batch of observations.
pub(in crate::grpc) fn observed(
    connectors: Vec<pb::ObservedConnector>,
) -> Result<Vec<Observed>, Violations> {
    let mut findings = Findings::under("");
    if connectors.len() > MAX_CONNECTORS {
        findings.add("connectors", "at most 256 are reported at a time");
        return findings.finish(Vec::new());
    }
    let mut observed = Vec::with_capacity(connectors.len());
    for (at, connector) in connectors.into_iter().enumerate() {
        findings.within(format!("connectors[{at}]"), |findings| {
            observed.extend(one(connector, findings))
        });
    }
    findings.finish(observed)
}

fn one(connector: pb::ObservedConnector, findings: &mut Findings) -> Option<Observed> {
    let pb::ObservedConnector {
        uid,
        generation,
        status,
        tools,
    } = connector;
    let uid = uid
        .parse()
        .map_err(|_| findings.add("uid", "is the connector's uid"))
        .ok();
    let Some(status) = status else {
        findings.add("status", "is required");
        return None;
    };
    let state = state(status.state());
    if state.is_none() {
        findings.add("status.state", "is a state");
    }
    let tools = tools.map(|pb::ObservedTools { tools }| observed_tools(tools, findings));
    Some(Observed {
        uid: uid?,
        generation,
        state: state?,
        detail: detail(status),
        tools,
    })
}

fn detail(status: pb::ConnectorStatus) -> Detail {
    let pb::ConnectorStatus {
        state: _,
        condition: _,
        reason,
        message,
        since,
        consecutive_failures,
        last_success_time,
        next_attempt_time,
        observed_generation: _,
        tool_count: _,
        sync_time,
        protocol_version,
        server_info,
        stale_since: _,
        stage,
    } = status;
    Detail {
        reason: cut(reason, MAX_CODE),
        message: cut(message, MAX_TEXT),
        stage: cut(stage, MAX_CODE),
        since: since.map(timestamp),
        consecutive_failures,
        last_success: last_success_time.map(timestamp),
        next_attempt: next_attempt_time.map(timestamp),
        sync: sync_time.map(timestamp),
        protocol_version: cut(protocol_version, MAX_CODE),
        server_info: cut(server_info, MAX_TEXT),
    }
}

fn observed_tools(tools: Vec<pb::ObservedTool>, findings: &mut Findings) -> Vec<ObservedTool> {
    let mut seen = HashSet::new();
    let mut observed = Vec::new();
    for (
        at,
        pb::ObservedTool {
            name,
            definition_hash,
        },
    ) in tools.into_iter().enumerate()
    {
        let Ok(hash) = definition_hash.parse::<DefinitionHash>() else {
            findings.add(
                &format!("tools.tools[{at}].definition_hash"),
                "is SHA-256 in 64 lower-case hex digits",
            );
            continue;
        };
        // PostgreSQL's text cannot hold NUL.
        let is_usable = !name.is_empty() && name.len() <= MAX_TOOL_NAME && !name.contains('\0');
        if is_usable && observed.len() < MAX_TOOLS && seen.insert(name.clone()) {
            observed.push(ObservedTool { name, hash });
        }
    }
    observed
}

fn state(state: pb::ConnectorState) -> Option<State> {
    match state {
        pb::ConnectorState::Unspecified => None,
        pb::ConnectorState::Pending => Some(State::Pending),
        pb::ConnectorState::Connecting => Some(State::Connecting),
        pb::ConnectorState::Ready => Some(State::Ready),
        pb::ConnectorState::Idle => Some(State::Idle),
        pb::ConnectorState::Degraded => Some(State::Degraded),
        pb::ConnectorState::Unreachable => Some(State::Unreachable),
        pb::ConnectorState::AuthRequired => Some(State::AuthRequired),
        pb::ConnectorState::Misconfigured => Some(State::Misconfigured),
        pb::ConnectorState::Disabled => Some(State::Disabled),
    }
}

fn timestamp(time: prost_types::Timestamp) -> Timestamp {
    let micros = time
        .seconds
        .saturating_mul(1_000_000)
        .saturating_add(i64::from(time.nanos) / 1_000);
    Timestamp::from_micros(micros)
}

fn cut(text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let end = text.floor_char_boundary(limit);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "01932d3c-7a00-7000-8000-000000000001";

    fn report(status: pb::ConnectorStatus, tools: Vec<pb::ObservedTool>) -> pb::ObservedConnector {
        let tools = Some(pb::ObservedTools { tools });
        pb::ObservedConnector {
            uid: UID.into(),
            generation: 1,
            status: Some(status),
            tools,
        }
    }

    fn ready() -> pb::ConnectorStatus {
        pb::ConnectorStatus {
            state: pb::ConnectorState::Ready.into(),
            ..Default::default()
        }
    }

    #[test]
    fn what_a_server_wrote_is_bounded_and_never_refused() {
        let hash = "a".repeat(64);
        let tool = |name: &str| pb::ObservedTool {
            name: name.into(),
            definition_hash: hash.clone(),
        };
        let tools = vec![
            tool("read"),
            tool("read"),
            tool(""),
            tool("a\0b"),
            tool(&"x".repeat(1_025)),
            tool("write"),
        ];
        let status = pb::ConnectorStatus {
            server_info: "é".repeat(2_000),
            ..ready()
        };
        let observed = observed(vec![report(status, tools)]).expect("taken");
        let names: Vec<_> = observed[0]
            .tools
            .iter()
            .flatten()
            .map(|tool| tool.name.as_str())
            .collect();
        assert_eq!(names, ["read", "write"]);
        assert_eq!(observed[0].detail.server_info.len(), 1_024);
        let many = (0..MAX_TOOLS + 5)
            .map(|number| tool(&format!("t{number}")))
            .collect();
        let observed = super::observed(vec![report(ready(), many)]).expect("taken");
        assert_eq!(observed[0].tools.as_ref().map(Vec::len), Some(MAX_TOOLS));
    }

    #[test]
    fn what_the_runtime_wrote_is_checked() {
        let unspecified = pb::ConnectorStatus::default();
        let bad = pb::ObservedTool {
            name: "x".into(),
            definition_hash: "A".repeat(64),
        };
        let mut nameless = report(unspecified, vec![bad]);
        nameless.uid = "x".into();
        let violations = observed(vec![nameless]).expect_err("three");
        let fields: Vec<_> = violations
            .as_slice()
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(
            fields,
            [
                "connectors[0].uid",
                "connectors[0].status.state",
                "connectors[0].tools.tools[0].definition_hash"
            ]
        );
        assert!(observed(vec![report(ready(), vec![]); MAX_CONNECTORS + 1]).is_err());
    }

    #[test]
    fn an_instance_is_named_and_identified() {
        let instance = |id: &str, name: &str, lease_epoch| {
            runtime(Some(pb::RuntimeInstance {
                instance_id: id.into(),
                instance_name: name.into(),
                lease_epoch,
            }))
        };
        assert!(instance(UID, "main", 0).is_ok());
        assert!(runtime(None).is_err());
        for (id, name, epoch) in [
            ("", "main", 0),
            (UID, "", 0),
            (UID, "a\nb", 0),
            (UID, "main", -1),
        ] {
            assert!(
                instance(id, name, epoch).is_err(),
                "{id:?} {name:?} {epoch}"
            );
        }
    }
}
