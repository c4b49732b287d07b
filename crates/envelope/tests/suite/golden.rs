//! Envelopes and tags made by earlier builds and by another implementation open for ever.

use envelope::{Context, DeploymentId, FieldKind, Key, MacKey, ScopeHash, open};
use serde_json::Value;
use uuid::Uuid;

use super::unhex;

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {case}"))
}

fn id(case: &Value, field: &str) -> Uuid {
    text(case, field).parse().unwrap()
}

fn opens(case: &Value) {
    let context = Context {
        deployment: DeploymentId(id(case, "deployment")),
        scope: ScopeHash::of(text(case, "scope")),
        connector: id(case, "connector"),
        destination: id(case, "destination"),
        secret: id(case, "secret"),
        version: case["version"].as_u64().unwrap(),
        field: FieldKind::from_code(case["field_kind"].as_u64().unwrap() as u8).unwrap(),
        field_name: text(case, "field_name"),
    };
    let key = Key::from_slice(&unhex(text(case, "key"))).unwrap();
    let envelope = unhex(text(case, "envelope"));
    let opened = open(&key, id(case, "key_id"), &context, &envelope).unwrap();
    assert_eq!(
        opened.expose(),
        unhex(text(case, "plaintext")),
        "{}",
        case["name"]
    );
}

#[test]
fn known_answers_of_the_independent_implementation_open() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../vectors/known_answers_v1.json")).unwrap();
    let cases = vectors["envelopes"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    cases.iter().for_each(opens);
}

#[test]
fn golden_envelopes_of_this_implementation_open() {
    let golden: Value = serde_json::from_str(include_str!("../../vectors/golden_v1.json")).unwrap();
    let cases = golden.as_array().unwrap();
    assert_eq!(cases.len(), 3);
    cases.iter().for_each(opens);
}

#[test]
fn known_tags_and_check_values_agree() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../vectors/known_answers_v1.json")).unwrap();
    let cases = vectors["macs"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for (case, label) in cases.iter().zip(["grant", "destination"]) {
        assert_eq!(text(case, "label"), label);
        let key = Key::from_slice(&unhex(text(case, "key"))).unwrap();
        assert!(key.has_check_value(&unhex(text(case, "check_value"))));
        let parts: Vec<Vec<u8>> = case["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| unhex(p.as_str().unwrap()))
            .collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        assert!(MacKey::new(key).verify(label, &parts, &unhex(text(case, "tag"))));
    }
}
