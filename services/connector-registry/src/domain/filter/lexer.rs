//! Splits a filter into tokens. Nothing here knows which fields exist.

use super::InvalidFilter;

/// One token of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Equals,
    Differs,
    And,
    Or,
    Not,
    /// A bare word: a field or a value.
    Word(String),
    /// A quoted value.
    Quoted(String),
}

/// The tokens of `text`.
pub(super) fn read(text: &str) -> Result<Vec<Token>, InvalidFilter> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '=' => (Token::Equals, 1),
            '!' if rest.starts_with("!=") => (Token::Differs, 2),
            '-' => (Token::Not, 1),
            '"' => quoted(rest)?,
            letter if is_word(letter) => word(rest),
            _ => {
                return Err(InvalidFilter(
                    "a filter has a character it does not know".to_owned(),
                ));
            }
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-' | '/' | '~' | '@')
}

fn word(text: &str) -> (Token, usize) {
    let length = text
        .find(|character| !is_word(character))
        .unwrap_or(text.len());
    let word = text.get(..length).unwrap_or_default();
    let token = match word {
        "AND" => Token::And,
        "OR" => Token::Or,
        "NOT" => Token::Not,
        _ => Token::Word(word.to_owned()),
    };
    (token, length)
}

fn quoted(text: &str) -> Result<(Token, usize), InvalidFilter> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Token::Quoted(value), at + 1)),
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => break,
            },
            other => value.push(other),
        }
    }
    Err(InvalidFilter(
        "a quoted value in the filter does not end".to_owned(),
    ))
}
