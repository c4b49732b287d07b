//! Filters of a list: the AIP-160 subset that the connector list understands, as a tree.
//!
//! `state`, `condition`, `transport`, `source`, `enabled`, `display_name` and `labels.KEY` are compared with `=` or `!=`; `AND`, `OR`
//! (which binds tighter than `AND`, as AIP-160 has it), `NOT` and parentheses combine. Everything else is refused, so
//! that a misspelt filter never looks like an empty list. Not here: SQL (see `store::filters`).

mod lexer;
mod parser;

use std::str::FromStr;

use super::{
    spec::{Source, TransportKind},
    state::{Condition, State},
};

/// The longest filter that is read, in bytes.
pub const MAX_LENGTH: usize = 2048;
/// How deep parentheses and negations may nest.
pub const MAX_DEPTH: usize = 16;

/// What a connector must satisfy to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All parts hold; without parts, everything is listed.
    All(Vec<Filter>),
    /// At least one part holds.
    Any(Vec<Filter>),
    /// The part does not hold.
    Not(Box<Filter>),
    /// One field has one value.
    Is(Term),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// `state = READY`.
    State(State),
    /// `condition = ERROR`.
    Condition(Condition),
    /// `transport = STDIO`.
    Transport(TransportKind),
    /// `source = MANUAL`.
    Source(Source),
    /// `enabled = true`.
    Enabled(bool),
    /// `display_name = "My server"`.
    DisplayName(String),
    /// `labels.env = "prod"`; a connector without the label has no value, which is never equal.
    Label {
        /// The label's key.
        key: String,
        /// The label's value.
        value: String,
    },
}

/// Why a filter was refused; safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFilter(pub String);

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidFilter(format!(
                "a filter has at most {MAX_LENGTH} bytes"
            )));
        }
        parser::parse(&lexer::read(text)?)
    }
}

impl Term {
    fn new(field: &str, value: &str) -> Result<Self, InvalidFilter> {
        let wrong =
            |expected: &str| InvalidFilter(format!("'{field}' is compared with {expected}"));
        match field {
            "state" => State::from_name(value)
                .map(Self::State)
                .ok_or_else(|| wrong("a state such as READY or UNREACHABLE")),
            "condition" => Condition::from_name(value)
                .map(Self::Condition)
                .ok_or_else(|| wrong("CONNECTED, ERROR or DISCONNECTED")),
            "transport" => TransportKind::from_name(value)
                .map(Self::Transport)
                .ok_or_else(|| wrong("STDIO or STREAMABLE_HTTP")),
            "source" => Source::from_name(value)
                .map(Self::Source)
                .ok_or_else(|| wrong("a source such as MANUAL")),
            "enabled" => value.parse().map(Self::Enabled).map_err(|_| wrong("true or false")),
            "display_name" => Ok(Self::DisplayName(value.to_owned())),
            _ => match field.strip_prefix("labels.") {
                Some(key) if !key.is_empty() => {
                    Ok(Self::Label { key: key.to_owned(), value: value.to_owned() })
                }
                _ => Err(InvalidFilter(
                    "a filter knows state, condition, transport, source, enabled, display_name and labels.KEY"
                        .to_owned(),
                )),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Filter {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn state(state: State) -> Filter {
        Filter::Is(Term::State(state))
    }

    #[test]
    fn the_documented_example_is_understood() {
        let label = Term::Label {
            key: "env".into(),
            value: "prod".into(),
        };
        let expected = Filter::All(vec![
            Filter::Is(Term::Condition(Condition::Error)),
            Filter::Is(label),
        ]);
        assert_eq!(
            parse(r#"condition = ERROR AND labels.env = "prod""#),
            expected
        );
        assert_eq!(parse("condition=ERROR AND labels.env=prod"), expected);
    }

    #[test]
    fn an_empty_filter_lists_everything() {
        assert_eq!(parse(""), Filter::All(vec![]));
        assert_eq!(parse("  "), Filter::All(vec![]));
    }

    #[test]
    fn or_binds_tighter_than_and() {
        let either = Filter::Any(vec![state(State::Ready), state(State::Idle)]);
        let enabled = Filter::Is(Term::Enabled(true));
        let both = Filter::All(vec![either, enabled]);
        assert_eq!(
            parse("state = READY OR state = IDLE AND enabled = true"),
            both
        );
        assert_eq!(
            parse("(state = READY OR state = IDLE) AND enabled = true"),
            both
        );
    }

    #[test]
    fn negation_has_three_spellings() {
        let not = Filter::Not(Box::new(state(State::Ready)));
        for text in [
            "state != READY",
            "NOT state = READY",
            "-state = READY",
            "NOT (state = READY)",
        ] {
            assert_eq!(parse(text), not, "{text}");
        }
    }

    #[test]
    fn quoted_values_keep_every_character() {
        let filter = parse(r#"labels.note = "a \"b\" AND c\\""#);
        let value = r#"a "b" AND c\"#.to_owned();
        assert_eq!(
            filter,
            Filter::Is(Term::Label {
                key: "note".into(),
                value
            })
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "owner = ada",
            "labels. = x",
            "labels = x",
            "state = SLEEPING",
            "state = ready",
            "enabled = yes",
            "state",
            "state =",
            "= READY",
            "state = READY state = IDLE",
            "state = READY AND",
            "(state = READY",
            "state = READY)",
            "state > READY",
            "state : READY",
            "state == READY",
            r#"labels.a = "open"#,
            "AND",
        ] {
            assert!(text.parse::<Filter>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let nested =
            |depth: usize| format!("{}state = READY{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(parse(&nested(MAX_DEPTH)), state(State::Ready));
        assert!(nested(MAX_DEPTH + 1).parse::<Filter>().is_err());
        assert!(
            format!("{}state = READY", "NOT ".repeat(MAX_DEPTH + 1))
                .parse::<Filter>()
                .is_err()
        );
        let long = format!("labels.a = \"{}\"", "x".repeat(MAX_LENGTH));
        assert!(long.parse::<Filter>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_fall_over(text in "\\PC{0,120}") {
            drop(text.parse::<Filter>());
        }

        #[test]
        fn no_pile_of_tokens_makes_the_parser_fall_over(
            tokens in proptest::collection::vec(
                prop_oneof![
                    Just("state"), Just("="), Just("!="), Just("READY"), Just("("), Just(")"),
                    Just("AND"), Just("OR"), Just("NOT"), Just("-"), Just("labels.a"), Just("\"x\""),
                ],
                0..40,
            )
        ) {
            drop(tokens.join(" ").parse::<Filter>());
        }
    }
}
