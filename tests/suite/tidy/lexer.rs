//! Enough of Rust's lexical grammar to tell code from comments and text. It yields words and signs with their
//! lines; nothing here knows what they mean.

/// One word or sign of code. Text and character literals come as `""`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// Splits code into tokens, leaving out comments. `::` is one token.
pub(super) fn tokens(code: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        rest: code,
        line: 1,
        found: Vec::new(),
    };
    while let Some(next) = lexer.rest.chars().next() {
        lexer.step(next);
    }
    lexer.found
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<Token>,
}

impl Lexer<'_> {
    fn step(&mut self, next: char) {
        if next.is_whitespace() {
            self.skip(next.len_utf8());
        } else if self.rest.starts_with("//") {
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.skip(block_comment(self.rest));
        } else if let Some(length) = text_literal(self.rest).or_else(|| character(self.rest)) {
            self.take_as(length, "\"\"");
        } else if next.is_alphanumeric() || next == '_' {
            let length = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            self.take(length.unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("::") {
            self.take(2);
        } else {
            self.take(next.len_utf8());
        }
    }

    fn take(&mut self, length: usize) {
        let text = self.rest[..length].to_owned();
        self.found.push(Token {
            line: self.line,
            text,
        });
        self.skip(length);
    }

    fn take_as(&mut self, length: usize, text: &str) {
        self.found.push(Token {
            line: self.line,
            text: text.to_owned(),
        });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of `"…"`, `b"…"`, `c"…"`, `r#"…"#` and their mixtures, if one starts here.
fn text_literal(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix);
        after.is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    })?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let open = prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(
            rest[open..]
                .find(&close)
                .map_or(rest.len(), |at| open + at + close.len()),
        );
    }
    if hashes > 0 {
        return None;
    }
    let mut escaped = false;
    for (at, c) in rest[open..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(open + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// The length of a character literal, which is not a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest
        .strip_prefix("b'")
        .or_else(|| rest.strip_prefix('\''))?;
    let start = rest.len() - inner.len();
    if let Some(escape) = inner.strip_prefix('\\') {
        let skip = escape.chars().next()?.len_utf8();
        return escape[skip..]
            .find('\'')
            .map(|at| start + 1 + skip + at + 1);
    }
    let one = inner.chars().next()?.len_utf8();
    inner[one..].starts_with('\'').then_some(start + one + 1)
}

#[cfg(test)]
mod tests {
    use super::tokens;

    fn texts(code: &str) -> Vec<String> {
        tokens(code).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_text_are_not_code() {
        let code = "a::b // tokio::spawn\n/* x /* y */ z */ \"std::env\" r#\"say \"hi\"\"# 'c' '\\'' b'\"' d";
        assert_eq!(
            texts(code),
            ["a", "::", "b", "\"\"", "\"\"", "\"\"", "\"\"", "\"\"", "d"]
        );
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        assert_eq!(texts("&'a str"), ["&", "'", "a", "str"]);
    }

    #[test]
    fn lines_are_counted_through_text() {
        let last = tokens("\"one\ntwo\"\nthree").pop().unwrap();
        assert_eq!((last.line, last.text.as_str()), (3, "three"));
    }
}
