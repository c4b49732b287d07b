//! Reads a blob of environment variables: a JSON object of strings.
//!
//! Invariant: no piece of a value is left behind in memory that is not wiped. That is why no general JSON reader is
//! used: those keep what they unescape in buffers of their own. Names are not secret here.

use sensitive::{Bytes, Text};
use zeroize::Zeroizing;

use super::RedeemError;

/// Reads a blob.
pub(super) fn parse(blob: &Bytes) -> Result<Vec<(String, Text)>, RedeemError> {
    let text = std::str::from_utf8(blob.expose()).map_err(|_| RedeemError::Unreadable)?;
    let mut reader = Reader { rest: text };
    reader.object().ok_or(RedeemError::Unreadable)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn object(&mut self) -> Option<Vec<(String, Text)>> {
        let mut members = Vec::new();
        self.token('{')?;
        if self.token('}').is_none() {
            loop {
                let name = String::clone(&*self.string()?);
                self.token(':')?;
                let value = self.string()?;
                members.push((name, into_text(value)));
                if self.token(',').is_none() {
                    self.token('}')?;
                    break;
                }
            }
        }
        self.rest.trim_start().is_empty().then_some(members)
    }

    /// Takes one character after white space, if it is the next one.
    fn token(&mut self, token: char) -> Option<()> {
        let rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest = rest.strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<Zeroizing<String>> {
        self.token('"')?;
        // Unescaped text is never longer, so the buffer never grows and leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(self.end_of_string()?));
        loop {
            let mut chars = self.rest.chars();
            let next = chars.next()?;
            self.rest = chars.as_str();
            match next {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                plain if plain >= ' ' => text.push(plain),
                _ => return None,
            }
        }
    }

    /// The bytes up to the closing quote.
    fn end_of_string(&self) -> Option<usize> {
        let mut escaped = false;
        self.rest.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })
    }

    fn escape(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let escape = chars.next()?;
        self.rest = chars.as_str();
        Some(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return None,
        })
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)
    }

    fn hex(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }
}

fn into_text(mut value: Zeroizing<String>) -> Text {
    Text::new(std::mem::take(&mut *value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Option<Vec<(String, String)>> {
        let members = parse(&Bytes::new(json.as_bytes().to_vec())).ok()?;
        let plain = |(name, value): (String, Text)| (name, value.expose().to_owned());
        Some(members.into_iter().map(plain).collect())
    }

    #[test]
    fn an_object_of_strings_is_read_and_nothing_else() {
        let expected = vec![
            ("A".to_owned(), "x \"y\"\n😀é".to_owned()),
            ("B".to_owned(), String::new()),
        ];
        let json = r#" { "A" : "x \"y\"\n\ud83d\ude00\u00e9" , "B":"" } "#;
        assert_eq!(read(json), Some(expected));
        assert_eq!(read("{}"), Some(Vec::new()));
        for bad in [
            "",
            "[]",
            "{",
            r#"{"A":1}"#,
            r#"{"A":"x"#,
            r#"{"A":"x",}"#,
            r#"{"A":"x"}}"#,
            r#"{"A":"\ud800"}"#,
            r#"{"A":"\ud800\u0041"}"#,
            r#"{"A":"\x"}"#,
            "{\"A\":\"\n\"}",
            r#"{"A":"\u+123"}"#,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(parse(&Bytes::new(vec![b'{', 0xff, b'}'])).is_err());
    }

    proptest! {
        #[test]
        fn whatever_serde_writes_is_read_back(
            members in proptest::collection::btree_map("\\PC{0,8}|[\\x00-\\x7f]{0,8}", "(?s).{0,20}", 0..5),
        ) {
            let json = serde_json::to_string(&members).unwrap();
            prop_assert_eq!(read(&json), Some(members.into_iter().collect()));
        }
    }
}
