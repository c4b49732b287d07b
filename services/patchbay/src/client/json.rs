//! Answers as protobuf JSON, by reflection, with every field that is marked `debug_redact` redacted.
//!
//! The redaction is a second line: services do not send secrets to clients at all.

use anyhow::Context as _;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, SerializeOptions, Value,
};

/// What stands in place of a redacted text.
const REDACTED: &str = "<redacted>";

/// Prints messages of our packages as JSON.
#[derive(Debug)]
pub(crate) struct Json {
    pool: DescriptorPool,
}

impl Json {
    /// Knows all messages of `contracts`.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(contracts::FILE_DESCRIPTOR_SET)
            .context("the built-in descriptors are damaged")?;
        Ok(Self { pool })
    }

    /// The message of that full name as pretty JSON.
    pub(crate) fn pretty(&self, full_name: &str, message: &impl Message) -> anyhow::Result<String> {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::pretty(&mut json);
        self.redacted(full_name, message)?
            .serialize_with_options(&mut serializer, &options())?;
        Ok(String::from_utf8(json)?)
    }

    /// The message of that full name as JSON in one line.
    pub(crate) fn line(&self, full_name: &str, message: &impl Message) -> anyhow::Result<String> {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut json);
        self.redacted(full_name, message)?
            .serialize_with_options(&mut serializer, &options())?;
        Ok(String::from_utf8(json)?)
    }

    fn redacted(&self, full_name: &str, message: &impl Message) -> anyhow::Result<DynamicMessage> {
        let descriptor = self
            .pool
            .get_message_by_name(full_name)
            .with_context(|| format!("there is no message {full_name}"))?;
        let mut message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
        redact(&mut message);
        Ok(message)
    }
}

/// Programs see `false` and `0` where the message says so, and need not know the defaults.
fn options() -> SerializeOptions {
    SerializeOptions::new().skip_default_fields(false)
}

fn redact(message: &mut DynamicMessage) {
    let set: Vec<FieldDescriptor> = message.fields().map(|(field, _)| field).collect();
    for field in set {
        if is_secret(&field) {
            hide(message, &field);
        } else if matches!(field.kind(), Kind::Message(_)) {
            redact_value(message.get_field_mut(&field));
        }
    }
}

fn hide(message: &mut DynamicMessage, field: &FieldDescriptor) {
    if matches!(field.kind(), Kind::String) && !field.is_list() && !field.is_map() {
        message.set_field(field, Value::String(REDACTED.to_owned()));
    } else {
        message.clear_field(field);
    }
}

fn redact_value(value: &mut Value) {
    match value {
        Value::Message(message) => redact(message),
        Value::List(values) => values.iter_mut().for_each(redact_value),
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, value): (&MapKey, _)| redact_value(value)),
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_) => {}
    }
}

fn is_secret(field: &FieldDescriptor) -> bool {
    let options = field.options();
    matches!(
        options.get_field_by_name("debug_redact").as_deref(),
        Some(Value::Bool(true))
    )
}

#[cfg(test)]
mod tests {
    use contracts::registry::v1::connector::Transport;
    use contracts::registry::v1::variable;
    use contracts::registry::v1::{Connector, CreateConnectorResponse, StdioTransport, Variable};
    use contracts::vault::v1::{RedeemGrantResponse, ReleasedSecret};

    use super::*;

    const CANARY: &str = "canary-7f3a";

    #[test]
    fn names_are_camel_case_and_defaults_are_shown() {
        let message = contracts::runtime::v1::CallToolResponse {
            result_json: r#"{"a":1}"#.into(),
            is_error: false,
            ..Default::default()
        };
        let name = "patchbay.runtime.v1.CallToolResponse";
        let json = Json::new().unwrap().line(name, &message).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["resultJson"], r#"{"a":1}"#);
        assert_eq!(json["isError"], false);
    }

    #[test]
    fn a_secret_never_gets_out_at_any_depth() {
        let secret = Variable {
            name: "TOKEN".into(),
            value: Some(variable::Value::Secret(CANARY.into())),
            ..Default::default()
        };
        let stdio = StdioTransport {
            environment: vec![secret],
            ..Default::default()
        };
        let connector = Connector {
            transport: Some(Transport::Stdio(stdio)),
            ..Default::default()
        };
        let message = CreateConnectorResponse {
            connector: Some(connector),
        };
        let json = Json::new().unwrap();
        let name = "patchbay.registry.v1.CreateConnectorResponse";
        for text in [
            json.pretty(name, &message).unwrap(),
            json.line(name, &message).unwrap(),
        ] {
            assert!(!text.contains(CANARY), "{text}");
            assert!(text.contains(REDACTED) && text.contains("TOKEN"), "{text}");
        }

        let secret = ReleasedSecret {
            value: CANARY.into(),
            ..Default::default()
        };
        let message = RedeemGrantResponse {
            secrets: vec![secret],
            lease_token: CANARY.into(),
            ..Default::default()
        };
        let text = json
            .line("patchbay.vault.v1.RedeemGrantResponse", &message)
            .unwrap();
        assert!(
            !text.contains(CANARY) && !text.contains("Y2FuYXJ5"),
            "{text}"
        );
    }
}
