//! What a single value may contain, so that it cannot break out of the place it is put in.

use super::{FieldKind, Invalid};

/// The largest value in bytes.
pub(crate) const MAX_VALUE: usize = 64 * 1024;

/// Checks `value` for `kind`. The refusal names the field and the rule, never the bytes.
pub(crate) fn check_value(kind: FieldKind, value: &[u8]) -> Result<(), Invalid> {
    const VALUE: &str = "value";
    if value.is_empty() || value.len() > MAX_VALUE {
        return Err(Invalid::new(VALUE, "must have 1 byte to 64 KiB"));
    }
    match kind {
        FieldKind::Header if !value.iter().all(|byte| is_header_value_byte(*byte)) => {
            Err(Invalid::new(
                VALUE,
                "a header value must not contain NUL, CR, LF or other controls",
            ))
        }
        FieldKind::Environment | FieldKind::Query if value.contains(&0) => {
            Err(Invalid::new(VALUE, "must not contain NUL"))
        }
        FieldKind::Environment | FieldKind::Query | FieldKind::Header
            if str::from_utf8(value).is_err() =>
        {
            Err(Invalid::new(VALUE, "must be UTF-8 text"))
        }
        FieldKind::Environment
        | FieldKind::Query
        | FieldKind::Header
        | FieldKind::EnvironmentBlob => Ok(()),
    }
}

/// RFC 9110 field values: visible characters, space, tab and bytes above ASCII.
fn is_header_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_cannot_start_another_header() {
        assert!(check_value(FieldKind::Header, b"Bearer abc\tdef").is_ok());
        assert!(check_value(FieldKind::Header, "schlüssel".as_bytes()).is_ok());
        for bad in [
            &b"a\r\nx: y"[..],
            b"a\nb",
            b"a\rb",
            b"a\0b",
            b"a\x7f",
            b"a\x01",
            b"\xff",
        ] {
            assert!(check_value(FieldKind::Header, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_have_a_size() {
        for kind in [FieldKind::Environment, FieldKind::Header, FieldKind::Query] {
            assert!(check_value(kind, b"").is_err());
            assert!(check_value(kind, &vec![b'x'; MAX_VALUE]).is_ok());
            assert!(check_value(kind, &vec![b'x'; MAX_VALUE + 1]).is_err());
        }
    }

    #[test]
    fn a_variable_cannot_end_early() {
        assert!(check_value(FieldKind::Environment, b"line one\nline two").is_ok());
        assert!(check_value(FieldKind::Environment, b"a\0b").is_err());
        assert!(check_value(FieldKind::Environment, b"\xff\xfe").is_err());
        assert!(check_value(FieldKind::Query, b"a\0b").is_err());
    }

    #[test]
    fn refusals_do_not_repeat_the_value() {
        let invalid = check_value(FieldKind::Header, b"hunter2\r\n").unwrap_err();
        assert!(!format!("{invalid} {invalid:?}").contains("hunter2"));
    }
}
