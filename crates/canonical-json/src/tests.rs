//! The promises of the canonical form, among them the examples of RFC 8785.

use proptest::prelude::*;

use super::*;

fn text(json: &str) -> String {
    Canonical::of(json.as_bytes())
        .expect(json)
        .text()
        .to_owned()
}

#[test]
fn the_example_of_the_rfc_comes_out_as_printed_there() {
    // RFC 8785, sections 3.2.2 and 3.2.3.
    let json = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(text(json), expected);
}

#[test]
fn keys_are_sorted_by_utf_16_code_units() {
    // RFC 8785, section 3.2.3: the emoji (a surrogate pair) comes before U+FB33.
    let json = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
    let keys = ["\\r", "1", "\u{80}", "ö", "€", "\u{1f600}", "\u{fb33}"];
    let values = [2, 4, 6, 7, 1, 5, 3];
    let members: Vec<String> = keys
        .iter()
        .zip(values)
        .map(|(key, value)| format!("\"{key}\":{value}"))
        .collect();
    assert_eq!(text(json), format!("{{{}}}", members.join(",")));
}

#[test]
fn what_can_be_read_two_ways_has_no_canonical_form() {
    for (json, reason) in [
        (r#"{"a":1,"a":1}"#, NotCanonical::DuplicateKey),
        (r#"{"a":1,"\u0061":2}"#, NotCanonical::DuplicateKey),
        (r#"[{"b":{"c":0,"c":1}}]"#, NotCanonical::DuplicateKey),
        (r#""\ud800""#, NotCanonical::NotJson),
        (r#"{"a":1} {}"#, NotCanonical::NotJson),
        ("[01]", NotCanonical::NotJson),
        ("[1.]", NotCanonical::NotJson),
        ("1e400", NotCanonical::NotJson),
        ("\"a\nb\"", NotCanonical::NotJson),
        ("", NotCanonical::NotJson),
    ] {
        assert_eq!(Canonical::of(json.as_bytes()), Err(reason), "{json}");
    }
    assert_eq!(Canonical::of(b"\"\xff\""), Err(NotCanonical::NotJson));
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert_eq!(Canonical::of(deep.as_bytes()), Err(NotCanonical::NotJson));
}

#[test]
fn numbers_a_double_cannot_tell_apart_are_reported() {
    let inexact = |json: &str| {
        Canonical::of(json.as_bytes())
            .expect(json)
            .has_inexact_numbers()
    };
    assert!(!inexact("[9007199254740991, -9007199254740991, 0.1]"));
    assert!(inexact(r#"{"maximum": 9007199254740993}"#));
    assert!(inexact("[-9223372036854775808]"));
    assert_eq!(text("9007199254740993"), text("9007199254740992"));
}

#[test]
fn the_hash_is_that_of_the_canonical_text() {
    let hash = |json: &str| Canonical::of(json.as_bytes()).expect(json).sha256_hex();
    assert_eq!(
        hash(" { } "),
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    );
    assert_eq!(
        hash(r#"{"b":1.0,"a":[]}"#),
        hash(r#"{ "a" : [ ], "b" : 1 }"#)
    );
    assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":"1"}"#));
}

proptest! {
    #[test]
    fn the_canonical_form_is_its_own_canonical_form(json in json()) {
        let once = text(&json);
        prop_assert_eq!(&text(&once), &once);
    }

    #[test]
    fn no_text_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        drop(Canonical::of(&bytes));
    }
}

/// Arbitrary JSON texts.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i32>().prop_map(|value| value.to_string()),
        prop::num::f64::NORMAL.prop_map(|value| serde_json::json!(value).to_string()),
        "\\PC{0,8}".prop_map(|value| serde_json::json!(value).to_string()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::btree_map("\\PC{0,4}", inner, 0..4).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{} : {value}", serde_json::json!(key)))
                    .collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}
