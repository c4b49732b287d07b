//! The context encoder: two different places never give equal bytes, and none is a prefix trick.

use envelope::{Context, DeploymentId, FieldKind, Key, KeyKind, MacKey, ScopeHash, WrapContext};
use proptest::prelude::*;
use uuid::Uuid;

/// Few distinct ids and names that share beginnings, so that collisions would be found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    ids: [u8; 4],
    scope: String,
    version: u64,
    kind: FieldKind,
    name: String,
}

impl Place {
    fn encode(&self) -> Vec<u8> {
        let [deployment, connector, destination, secret] =
            self.ids.map(|id| Uuid::from_bytes([id; 16]));
        Context {
            deployment: DeploymentId(deployment),
            scope: ScopeHash::of(&self.scope),
            connector,
            destination,
            secret,
            version: self.version,
            field: self.kind,
            field_name: &self.name,
        }
        .encode()
        .unwrap()
    }
}

fn place() -> impl Strategy<Value = Place> {
    let id = || prop_oneof![Just(0_u8), Just(1), Just(b'S')];
    (
        [id(), id(), id(), id()],
        prop_oneof![Just("users/a"), Just("users/ab"), Just("system")].prop_map(str::to_owned),
        prop_oneof![
            Just(0_u64),
            Just(1),
            Just(256),
            Just(u64::MAX),
            any::<u64>()
        ],
        (0..FieldKind::ALL.len()).prop_map(|index| FieldKind::ALL[index]),
        "[\\x00\\x01aS]{0,6}",
    )
        .prop_map(|(ids, scope, version, kind, name)| Place {
            ids,
            scope,
            version,
            kind,
            name,
        })
}

proptest! {
    #[test]
    fn different_places_give_different_bytes(one in place(), two in place()) {
        prop_assert_eq!(one == two, one.encode() == two.encode());
    }

    #[test]
    fn no_encoding_begins_another(one in place(), two in place()) {
        let (one, two) = (one.encode(), two.encode());
        prop_assert!(one == two || !two.starts_with(&one));
    }

    #[test]
    fn different_lists_of_parts_have_different_tags(
        one in prop::collection::vec(prop::collection::vec(0_u8..2, 0..5), 0..4),
        two in prop::collection::vec(prop::collection::vec(0_u8..2, 0..5), 0..4),
    ) {
        let key = MacKey::new(Key::from_slice(&[3; 32]).unwrap());
        let tag = |parts: &[Vec<u8>]| {
            key.tag("t", &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        prop_assert_eq!(one == two, tag(&one) == tag(&two));
    }

    #[test]
    fn opening_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let key = Key::from_slice(&[3; 32]).unwrap();
        prop_assert!(envelope::open(&key, Uuid::nil(), &super::context(), &bytes).is_err());
        let mut formed = bytes;
        if formed.len() >= 2 {
            formed[..2].copy_from_slice(&[1, 1]);
        }
        prop_assert!(envelope::open(&key, Uuid::nil(), &super::context(), &formed).is_err());
    }

    #[test]
    fn what_is_sealed_opens(value in prop::collection::vec(any::<u8>(), 1..500), place in place()) {
        let key = Key::from_slice(&[3; 32]).unwrap();
        let context = Context { version: place.version, field_name: &place.name, ..super::context() };
        let sealed = envelope::seal(&key, Uuid::nil(), &context, &value).unwrap();
        let opened = envelope::open(&key, Uuid::nil(), &context, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), value);
    }
}

#[test]
fn the_parts_stand_where_the_format_says() {
    let encoded = super::context().encode().unwrap();
    assert_eq!(&encoded[..6], b"SVCTX1");
    assert_eq!(encoded[6..10], 16_u32.to_be_bytes());
    assert_eq!(&encoded[10..26], Uuid::from_u128(0x11).as_bytes());
    assert_eq!(&encoded[26..42], ScopeHash::of("users/ada").as_bytes());
    assert_eq!(&encoded[42..58], Uuid::from_u128(0x22).as_bytes());
    assert_eq!(&encoded[58..74], Uuid::from_u128(0x33).as_bytes());
    assert_eq!(&encoded[74..90], Uuid::from_u128(0x44).as_bytes());
    assert_eq!(encoded[90..98], 7_u64.to_be_bytes());
    assert_eq!(encoded[98], 2);
    assert_eq!(encoded[99..103], 13_u32.to_be_bytes());
    assert_eq!(&encoded[103..], b"authorization");
}

#[test]
fn a_wrap_context_is_never_a_value_context() {
    let wrap = WrapContext {
        deployment: DeploymentId(Uuid::nil()),
        kind: KeyKind::Data,
        scope: ScopeHash::of("users/ada"),
        key_id: Uuid::nil(),
        term: 1,
    };
    assert!(
        !super::context()
            .encode()
            .unwrap()
            .starts_with(&wrap.encode()[..6])
    );
}
