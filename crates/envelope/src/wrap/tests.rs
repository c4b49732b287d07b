//! Wraps against the independent implementation, and every way to move one elsewhere.

use serde_json::Value;

use super::*;

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn context() -> WrapContext {
    WrapContext {
        deployment: DeploymentId(Uuid::from_u128(1)),
        kind: KeyKind::Data,
        scope: ScopeHash::of("users/ada"),
        key_id: Uuid::from_u128(2),
        term: 3,
    }
}

#[test]
fn wrapping_gives_the_bytes_the_independent_implementation_gives() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../vectors/known_answers_v1.json")).unwrap();
    let cases = vectors["wraps"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for (case, kind) in cases
        .iter()
        .zip([KeyKind::Root, KeyKind::Data, KeyKind::Audit])
    {
        assert_eq!(case["kind"], kind as u8);
        let context = WrapContext {
            deployment: DeploymentId(case["deployment"].as_str().unwrap().parse().unwrap()),
            kind,
            scope: ScopeHash::of(case["scope"].as_str().unwrap()),
            key_id: case["key_id"].as_str().unwrap().parse().unwrap(),
            term: case["term"].as_u64().unwrap(),
        };
        let wrapping = Key::from_slice(&hex(&case["wrapping_key"])).unwrap();
        let key = Key::from_slice(&hex(&case["key"])).unwrap();
        let nonce = hex(&case["nonce"]);
        let wrapped = wrap_with(
            &wrapping,
            &context,
            &key,
            nonce.as_slice().try_into().unwrap(),
        )
        .unwrap();
        assert_eq!(wrapped, hex(&case["wrapped"]), "{}", case["name"]);
        assert_eq!(
            unwrap(&wrapping, &context, &wrapped).unwrap().expose(),
            key.expose()
        );
    }
}

#[test]
fn a_wrapped_key_opens_in_its_own_place_only() {
    let (wrapping, key) = (Key::generate().unwrap(), Key::generate().unwrap());
    let wrapped = wrap(&wrapping, &context(), &key).unwrap();
    assert_eq!(wrapped.len(), WRAPPED_LEN);
    let elsewhere = [
        WrapContext {
            deployment: DeploymentId(Uuid::from_u128(9)),
            ..context()
        },
        WrapContext {
            kind: KeyKind::Audit,
            ..context()
        },
        WrapContext {
            scope: ScopeHash::of("users/eve"),
            ..context()
        },
        WrapContext {
            key_id: Uuid::from_u128(9),
            ..context()
        },
        WrapContext {
            term: 4,
            ..context()
        },
    ];
    for context in elsewhere {
        assert_eq!(
            unwrap(&wrapping, &context, &wrapped).err(),
            Some(Error::Authentication)
        );
    }
    let other = Key::generate().unwrap();
    assert_eq!(
        unwrap(&other, &context(), &wrapped).err(),
        Some(Error::Authentication)
    );
}

#[test]
fn every_changed_bit_and_every_other_length_is_refused() {
    let (wrapping, key) = (Key::generate().unwrap(), Key::generate().unwrap());
    let wrapped = wrap(&wrapping, &context(), &key).unwrap();
    for bit in 0..wrapped.len() * 8 {
        let mut altered = wrapped.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 8 {
            Error::UnsupportedFormat
        } else {
            Error::Authentication
        };
        assert_eq!(
            unwrap(&wrapping, &context(), &altered).err(),
            Some(expected),
            "bit {bit}"
        );
    }
    for length in 0..wrapped.len() {
        let error = unwrap(&wrapping, &context(), &wrapped[..length]).err();
        assert_eq!(error, Some(Error::Length), "length {length}");
    }
    let longer = [wrapped.as_slice(), &[0]].concat();
    assert_eq!(
        unwrap(&wrapping, &context(), &longer).err(),
        Some(Error::Length)
    );
}

#[test]
fn the_same_key_is_never_wrapped_to_the_same_bytes() {
    let (wrapping, key) = (Key::generate().unwrap(), Key::generate().unwrap());
    let wraps = [0; 2].map(|_| wrap(&wrapping, &context(), &key).unwrap());
    assert_ne!(wraps[0], wraps[1]);
}
