//! The promises of the generated code: secrets stay out of Debug, and no method is without a rule.

use names::access::{Role, ScopeSource, ScopedRequest, Verb};

use super::*;
use crate::{registry::v1 as registry_v1, vault::v1 as vault_v1};

const CANARY: &str = "canary-7f3a";

#[test]
fn debug_hides_secrets_in_fields_and_oneofs_at_any_depth() {
    use registry_v1::{Connector, StdioTransport, Variable, connector::Transport, variable::Value};
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
    const { assert!(registry_v1::WatchConnectorsRequest::RULE.streaming) };
}
