//! Builds the tree of a filter by recursive descent, to a bounded depth. Nothing here looks at characters.

use super::{Filter, InvalidFilter, MAX_DEPTH, Term, lexer::Token};

/// The tree of a whole filter.
pub(super) fn parse(tokens: &[Token]) -> Result<Filter, InvalidFilter> {
    if tokens.is_empty() {
        return Ok(Filter::All(Vec::new()));
    }
    let mut parser = Parser { tokens, depth: 0 };
    let filter = parser.all()?;
    if parser.tokens.is_empty() {
        Ok(filter)
    } else {
        Err(InvalidFilter(
            "comparisons in a filter are joined by AND or OR".to_owned(),
        ))
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn all(&mut self) -> Result<Filter, InvalidFilter> {
        let mut parts = vec![self.any()?];
        while self.take(&Token::And) {
            parts.push(self.any()?);
        }
        Ok(single(parts, Filter::All))
    }

    fn any(&mut self) -> Result<Filter, InvalidFilter> {
        let mut parts = vec![self.factor()?];
        while self.take(&Token::Or) {
            parts.push(self.factor()?);
        }
        Ok(single(parts, Filter::Any))
    }

    fn factor(&mut self) -> Result<Filter, InvalidFilter> {
        if self.take(&Token::Not) {
            let part = self.deeper(Self::factor)?;
            return Ok(Filter::Not(Box::new(part)));
        }
        if self.take(&Token::Open) {
            let part = self.deeper(Self::all)?;
            return if self.take(&Token::Close) {
                Ok(part)
            } else {
                Err(InvalidFilter(
                    "a parenthesis in the filter is not closed".to_owned(),
                ))
            };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Filter, InvalidFilter> {
        const SHAPE: &str = "a comparison in a filter is FIELD = VALUE or FIELD != VALUE";
        let [Token::Word(field), operator, value, ..] = self.tokens else {
            return Err(InvalidFilter(SHAPE.to_owned()));
        };
        let (Token::Word(value) | Token::Quoted(value)) = value else {
            return Err(InvalidFilter(SHAPE.to_owned()));
        };
        let term = Filter::Is(Term::new(field, value)?);
        let filter = match operator {
            Token::Equals => term,
            Token::Differs => Filter::Not(Box::new(term)),
            Token::Open
            | Token::Close
            | Token::And
            | Token::Or
            | Token::Not
            | Token::Word(_)
            | Token::Quoted(_) => return Err(InvalidFilter(SHAPE.to_owned())),
        };
        self.tokens = self.tokens.get(3..).unwrap_or_default();
        Ok(filter)
    }

    fn deeper(
        &mut self,
        read: fn(&mut Self) -> Result<Filter, InvalidFilter>,
    ) -> Result<Filter, InvalidFilter> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(InvalidFilter(format!(
                "a filter nests at most {MAX_DEPTH} levels deep"
            )));
        }
        let filter = read(self);
        self.depth -= 1;
        filter
    }

    fn take(&mut self, token: &Token) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if first == token => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

fn single(mut parts: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            join(parts)
        }
    }
}
