//! The promises of the secret types.

use super::*;

#[test]
fn debug_never_shows_the_value() {
    let bytes = Bytes::new(b"hunter2".to_vec());
    let text = Text::new("hunter2".to_owned());
    assert_eq!(format!("{bytes:?} {text:?}"), "Bytes(..) Text(..)");
    assert_eq!(bytes.expose(), b"hunter2");
}

#[test]
fn text_and_bytes_convert_both_ways() {
    let text = Bytes::new(b"caf\xc3\xa9".to_vec()).into_text();
    let text = text.expect("UTF-8");
    assert_eq!(text.expose(), "café");
    assert_eq!(text.into_bytes().len(), 5);
    assert_eq!(Bytes::new(vec![0xff]).into_text().err(), Some(NotText));
}
