//! Byte-for-byte agreement with the independent implementation, which needs a chosen salt and nonce.

use serde_json::Value;

use super::*;
use crate::{DeploymentId, FieldKind, ScopeHash};

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn sealing_gives_the_bytes_the_independent_implementation_gives() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../vectors/known_answers_v1.json")).unwrap();
    let cases = vectors["envelopes"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let context = Context {
            deployment: DeploymentId(id(&case["deployment"])),
            scope: ScopeHash::of(case["scope"].as_str().unwrap()),
            connector: id(&case["connector"]),
            destination: id(&case["destination"]),
            secret: id(&case["secret"]),
            version: case["version"].as_u64().unwrap(),
            field: FieldKind::from_code(case["field_kind"].as_u64().unwrap() as u8).unwrap(),
            field_name: case["field_name"].as_str().unwrap(),
        };
        let key = Key::from_slice(&hex(&case["key"])).unwrap();
        let plaintext = hex(&case["plaintext"]);
        let (salt, nonce) = (hex(&case["salt"]), hex(&case["nonce"]));
        let envelope = seal_with(
            &key,
            id(&case["key_id"]),
            &context,
            &plaintext,
            salt.as_slice().try_into().unwrap(),
            nonce.as_slice().try_into().unwrap(),
        )
        .unwrap();
        assert_eq!(
            context.encode().unwrap(),
            hex(&case["context"]),
            "{}",
            case["name"]
        );
        assert_eq!(envelope, hex(&case["envelope"]), "{}", case["name"]);
        assert_eq!(key_id(&envelope), Ok(id(&case["key_id"])));
        let opened = open(&key, id(&case["key_id"]), &context, &envelope).unwrap();
        assert_eq!(opened.expose(), plaintext);
    }
}
