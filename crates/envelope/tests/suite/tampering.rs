//! Attacks 1, 2, 3, 4 and 7 on the bytes of an envelope.

use envelope::{Context, DeploymentId, Error, FieldKind, Key, MAX_ENVELOPE, MAX_PLAINTEXT};
use envelope::{OVERHEAD, ScopeHash, key_id, open, seal};
use uuid::Uuid;

use super::context;

const VALUE: &[u8] = b"ghp_0123456789abcdefghijklmnopqrstuvwxyz";
const KEY_ID: Uuid = Uuid::from_u128(0x5555);

fn sealed() -> (Key, Vec<u8>) {
    let key = Key::generate().unwrap();
    let envelope = seal(&key, KEY_ID, &context(), VALUE).unwrap();
    (key, envelope)
}

#[test]
fn what_was_sealed_opens_and_is_not_in_the_envelope() {
    let (key, envelope) = sealed();
    assert_eq!(envelope.len(), VALUE.len() + OVERHEAD);
    assert_eq!(OVERHEAD, 110);
    assert!(
        !envelope
            .windows(8)
            .any(|window| VALUE.windows(8).any(|v| v == window))
    );
    assert_eq!(key_id(&envelope), Ok(KEY_ID));
    assert_eq!(
        open(&key, KEY_ID, &context(), &envelope).unwrap().expose(),
        VALUE
    );
}

#[test]
fn attack_1_every_single_bit_of_the_envelope_matters() {
    let (key, envelope) = sealed();
    for bit in 0..envelope.len() * 8 {
        let mut altered = envelope.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let error = open(&key, KEY_ID, &context(), &altered).err();
        let expected = match bit / 8 {
            0..2 => Error::UnsupportedFormat,
            2..18 => Error::KeyMismatch,
            // Another salt gives another key and so another commitment.
            18..50 | 62..94 => Error::Commitment,
            _ => Error::Authentication,
        };
        assert_eq!(error, Some(expected), "bit {bit}");
    }
}

#[test]
fn attack_2_every_truncation_and_every_appended_byte_is_refused() {
    let (key, envelope) = sealed();
    for length in 0..envelope.len() {
        let error = open(&key, KEY_ID, &context(), &envelope[..length]).err();
        let expected = if length <= OVERHEAD {
            Error::Length
        } else {
            Error::Authentication
        };
        assert_eq!(error, Some(expected), "length {length}");
    }
    for extra in 1..=64 {
        let mut longer = envelope.clone();
        longer.resize(envelope.len() + extra, 0);
        let error = open(&key, KEY_ID, &context(), &longer).err();
        assert_eq!(error, Some(Error::Authentication), "{extra} more");
    }
    let mut huge = envelope;
    huge.resize(MAX_ENVELOPE + 1, 0);
    assert_eq!(
        open(&key, KEY_ID, &context(), &huge).err(),
        Some(Error::Length)
    );
}

#[test]
fn attack_3_there_is_one_format_and_no_way_around_it() {
    let (key, envelope) = sealed();
    for version in (0..=u8::MAX).filter(|version| *version != 1) {
        let mut altered = envelope.clone();
        altered[0] = version;
        assert_eq!(
            open(&key, KEY_ID, &context(), &altered).err(),
            Some(Error::UnsupportedFormat)
        );
        altered[..2].copy_from_slice(&[1, version]);
        assert_eq!(
            open(&key, KEY_ID, &context(), &altered).err(),
            Some(Error::UnsupportedFormat)
        );
        assert_eq!(key_id(&altered), Err(Error::UnsupportedFormat));
    }
    let plain = [VALUE, VALUE, VALUE].concat();
    assert_eq!(
        open(&key, KEY_ID, &context(), &plain).err(),
        Some(Error::UnsupportedFormat)
    );
    assert_eq!(
        open(&key, KEY_ID, &context(), b"").err(),
        Some(Error::Length)
    );
    assert_eq!(key_id(b""), Err(Error::Length));
}

#[test]
fn attack_4_an_envelope_opens_in_its_own_place_only() {
    let (key, envelope) = sealed();
    let nine = Uuid::from_u128(9);
    let elsewhere = [
        Context {
            deployment: DeploymentId(nine),
            ..context()
        },
        Context {
            scope: ScopeHash::of("users/eve"),
            ..context()
        },
        Context {
            connector: nine,
            ..context()
        },
        Context {
            destination: nine,
            ..context()
        },
        Context {
            secret: nine,
            ..context()
        },
        Context {
            version: 6,
            ..context()
        },
        Context {
            field: FieldKind::Url,
            ..context()
        },
        Context {
            field_name: "x-api-key",
            ..context()
        },
        Context {
            field_name: "",
            ..context()
        },
    ];
    for place in elsewhere {
        let error = open(&key, KEY_ID, &place, &envelope).err();
        assert_eq!(error, Some(Error::Authentication), "{place:?}");
    }
}

/// Flips each bit of the encoded context by flipping it in the typed field it came from.
#[test]
fn attack_4_every_single_bit_of_the_context_matters() {
    let (key, envelope) = sealed();
    let refused = |place: Context<'_>| {
        let error = open(&key, KEY_ID, &place, &envelope).err();
        assert_eq!(error, Some(Error::Authentication), "{place:?}");
    };
    let flip = |id: Uuid, bit: u32| Uuid::from_u128(id.as_u128() ^ (1 << bit));
    let base = context();
    for bit in 0..128 {
        refused(Context {
            deployment: DeploymentId(flip(base.deployment.0, bit)),
            ..base
        });
        refused(Context {
            connector: flip(base.connector, bit),
            ..base
        });
        refused(Context {
            destination: flip(base.destination, bit),
            ..base
        });
        refused(Context {
            secret: flip(base.secret, bit),
            ..base
        });
    }
    for bit in 0..64 {
        refused(Context {
            version: base.version ^ (1 << bit),
            ..base
        });
    }
    for field in FieldKind::ALL
        .into_iter()
        .filter(|kind| *kind != base.field)
    {
        refused(Context { field, ..base });
    }
    for bit in 0..base.field_name.len() * 8 {
        let mut name = base.field_name.as_bytes().to_vec();
        name[bit / 8] ^= 1 << (bit % 8);
        if let Ok(field_name) = str::from_utf8(&name) {
            refused(Context { field_name, ..base });
        }
    }
}

#[test]
fn attack_7_an_envelope_is_committed_to_one_key() {
    let (key, envelope) = sealed();
    let other = Key::generate().unwrap();
    assert_eq!(
        open(&other, KEY_ID, &context(), &envelope).err(),
        Some(Error::Commitment)
    );
    // The right key under another id is refused as well: keys are looked up, never tried.
    let other_id = Uuid::from_u128(0x6666);
    assert_eq!(
        open(&key, other_id, &context(), &envelope).err(),
        Some(Error::KeyMismatch)
    );
    // Naming the other key in the header does not help.
    let mut renamed = envelope;
    renamed[2..18].copy_from_slice(other_id.as_bytes());
    assert_eq!(
        open(&key, other_id, &context(), &renamed).err(),
        Some(Error::Commitment)
    );
}

#[test]
fn values_have_a_size_and_are_never_empty() {
    let key = Key::generate().unwrap();
    let largest = vec![0xa5; MAX_PLAINTEXT];
    let envelope = seal(&key, KEY_ID, &context(), &largest).unwrap();
    assert_eq!(envelope.len(), MAX_ENVELOPE);
    assert_eq!(
        open(&key, KEY_ID, &context(), &envelope).unwrap().expose(),
        largest
    );
    let over = vec![0xa5; MAX_PLAINTEXT + 1];
    assert_eq!(seal(&key, KEY_ID, &context(), &over), Err(Error::Length));
    assert_eq!(seal(&key, KEY_ID, &context(), b""), Err(Error::Input));
    let long = "n".repeat(envelope::MAX_FIELD_NAME + 1);
    let bad = Context {
        field_name: &long,
        ..context()
    };
    assert_eq!(seal(&key, KEY_ID, &bad, VALUE), Err(Error::Input));
    assert_eq!(
        open(&key, KEY_ID, &bad, &envelope).err(),
        Some(Error::Input)
    );
}

#[test]
fn sealing_twice_never_gives_the_same_bytes() {
    let key = Key::generate().unwrap();
    let [one, two] = [0; 2].map(|_| seal(&key, KEY_ID, &context(), VALUE).unwrap());
    assert_ne!(one[18..50], two[18..50], "salt");
    assert_ne!(one[50..62], two[50..62], "nonce");
    assert_ne!(one[62..94], two[62..94], "commitment");
    assert_ne!(one[94..], two[94..], "ciphertext");
}

#[test]
fn error_texts_are_static_and_say_nothing_about_the_bytes() {
    let errors = [
        Error::UnsupportedFormat,
        Error::Length,
        Error::KeyMismatch,
        Error::Commitment,
        Error::Authentication,
        Error::Input,
        Error::Randomness,
    ];
    for error in errors {
        let text = format!("{error} {error:?}");
        assert!(
            text.chars().all(|c| c.is_ascii_alphabetic() || c == ' '),
            "{text}"
        );
    }
}
