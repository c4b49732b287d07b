//! Checks of single values of a spec: texts, labels, environment, headers, URLs, commands.
//!
//! Each function answers with what the value must be, never with the value. Which field it stands in, and what policy
//! allows, is decided by the callers.

mod command;
mod header;
mod url;

pub use command::{argument, command, environment_name, environment_value, working_directory};
pub use header::{header_name, header_value};
pub use url::{endpoint_url, icon_uri};

/// What a value must be.
pub type Requirement = &'static str;

/// Free text for people on one line: no control characters, at most `limit` characters.
///
/// # Errors
/// What the text must be.
pub fn line(text: &str, limit: usize) -> Result<(), Requirement> {
    if text.chars().count() > limit {
        Err("is too long")
    } else if text.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else if text.trim() != text {
        Err("must not start or end with white space")
    } else {
        Ok(())
    }
}

/// Free text for people on several lines.
///
/// # Errors
/// What the text must be.
pub fn paragraph(text: &str, limit: usize) -> Result<(), Requirement> {
    if text.chars().count() > limit {
        Err("is too long")
    } else if text
        .chars()
        .any(|character| character.is_control() && !matches!(character, '\n' | '\t'))
    {
        Err("must not contain control characters other than line feed and tab")
    } else {
        Ok(())
    }
}

/// A label's key: `[a-z][a-z0-9_-]{0,62}`.
///
/// # Errors
/// What the key must be.
pub fn label_key(key: &str) -> Result<(), Requirement> {
    let inner = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    let starts = key
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if starts && key.len() <= 63 && key.bytes().all(inner) {
        Ok(())
    } else {
        Err("a label key has 1 to 63 characters of a-z 0-9 _ - and starts with a letter")
    }
}

/// A label's value: at most 256 characters on one line.
///
/// # Errors
/// What the value must be.
pub fn label_value(value: &str) -> Result<(), Requirement> {
    line(value, 256)
        .map_err(|_| "a label value has at most 256 characters and no control characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_printable() {
        assert_eq!(line("My server", 9), Ok(()));
        assert!(line("My server", 8).is_err());
        assert!(line("a\nb", 10).is_err());
        assert!(line(" a", 10).is_err());
        assert_eq!(paragraph("a\n\tb", 10), Ok(()));
        assert!(paragraph("a\u{7}", 10).is_err());
        assert!(paragraph("abc", 2).is_err());
    }

    #[test]
    fn labels_have_a_narrow_shape() {
        for key in ["env", "a", "team-2_x"] {
            assert_eq!(label_key(key), Ok(()), "{key}");
        }
        for key in ["", "Env", "1a", "-a", "a.b", "a b", &"a".repeat(64)] {
            assert!(label_key(key).is_err(), "{key}");
        }
        assert_eq!(label_value(""), Ok(()));
        assert!(label_value(&"x".repeat(257)).is_err());
    }
}
