//! The gRPC surface as Rust types: generated clients, servers and messages, the descriptor set, and
//! what each method demands of its caller.
//!
//! Invariant: no secret is in the `Debug` output of any message (fields marked `debug_redact` print
//! as `<redacted>`), and every method has a rule. Not here: conversions to domain types, which each
//! service makes itself, and any enforcement of the rules.

use names::access::MethodRule;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::let_underscore_must_use,
    clippy::too_many_lines,
    reason = "generated code"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/_includes.rs"));
    include!(concat!(env!("OUT_DIR"), "/_redacted.rs"));
    include!(concat!(env!("OUT_DIR"), "/_access.rs"));

    pub(crate) fn method_rules() -> &'static [names::access::MethodRule] {
        METHOD_RULES
    }
}

/// `patchbay.registry.v1`: connectors.
pub mod registry {
    pub use crate::generated::patchbay::registry::v1;
}

/// `patchbay.runtime.v1`: sessions and tool calls.
pub mod runtime {
    pub use crate::generated::patchbay::runtime::v1;
}

/// `patchbay.vault.v1`: secrets.
pub mod vault {
    pub use crate::generated::patchbay::vault::v1;
}

/// The descriptor set of all our protos and of what they import, with comments, encoded as a
/// `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// What each of our methods demands of its caller. A method that is not listed cannot be called.
#[must_use]
pub fn method_rules() -> &'static [MethodRule] {
    generated::method_rules()
}

#[cfg(test)]
mod tests {
    use names::access::{Role, ScopeSource, ScopedRequest, Verb};

    use super::*;
    use crate::{registry::v1 as registry_v1, vault::v1 as vault_v1};

    const CANARY: &str = "canary-7f3a";

    #[test]
    fn debug_hides_secrets_in_fields_and_oneofs_at_any_depth() {
        use registry_v1::{
            Connector, StdioTransport, Variable, connector::Transport, variable::Value,
        };
        let variable = Variable {
            name: "TOKEN".into(),
            prefix: String::new(),
            value: Some(Value::Secret(CANARY.into())),
        };
        let stdio = StdioTransport {
            environment: vec![variable],
            ..Default::default()
        };
        let connector = Connector {
            transport: Some(Transport::Stdio(stdio)),
            ..Default::default()
        };
        let request = registry_v1::CreateConnectorRequest {
            connector: Some(connector),
            ..Default::default()
        };
        let released = vault_v1::RedeemGrantResponse {
            secrets: vec![vault_v1::ReleasedSecret {
                value: CANARY.into(),
                ..Default::default()
            }],
            lease_token: CANARY.into(),
            lease_expire_time: None,
        };
        for text in [
            format!("{request:?}"),
            format!("{request:#?}"),
            format!("{released:?}"),
        ] {
            assert!(text.contains("redacted"), "{text}");
            assert!(
                !text.contains(CANARY) && !text.contains("99, 97, 110"),
                "{text}"
            );
        }
    }

    #[test]
    fn every_method_of_the_descriptor_set_has_exactly_one_rule() {
        let pool = prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
        let own = pool
            .services()
            .filter(|service| service.full_name().starts_with("patchbay."));
        let mut declared: Vec<String> = own
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .collect();
        let mut listed: Vec<String> = method_rules()
            .iter()
            .map(|rule| rule.path.to_owned())
            .collect();
        declared.sort();
        listed.sort();
        assert_eq!(listed, declared);
    }

    #[test]
    fn the_registry_can_call_no_method_that_returns_plaintext() {
        let rule = vault_v1::RedeemGrantRequest::RULE;
        assert_eq!(rule.roles, [Role::RuntimeSync]);
    }

    #[test]
    fn rules_say_where_a_request_names_its_scopes() {
        let rule = registry_v1::UpdateConnectorRequest::RULE;
        assert_eq!(
            rule.path,
            "/patchbay.registry.v1.ConnectorService/UpdateConnector"
        );
        assert_eq!(rule.verb, Some(Verb::Manage));
        assert_eq!(
            rule.scope,
            ScopeSource::Name {
                reason: "CONNECTOR_NOT_FOUND",
                resource_type: "patchbay/Connector"
            }
        );
        let mut seen = Vec::new();
        let request = registry_v1::UpdateConnectorRequest::default();
        request.visit_scopes(&mut |field, name| seen.push((field, name.to_owned())));
        // A missing message is an empty name, not an absent one: absence must open no door.
        assert_eq!(seen, [("connector.name", String::new())]);
        let watch = registry_v1::WatchConnectorsRequest {
            parents: vec!["users/ada".into(), "users/bob".into()],
            ..Default::default()
        };
        let mut seen = Vec::new();
        watch.visit_scopes(&mut |_, name| seen.push(name.to_owned()));
        assert_eq!(seen, ["users/ada", "users/bob"]);
        assert!(registry_v1::WatchConnectorsRequest::RULE.streaming);
    }
}
