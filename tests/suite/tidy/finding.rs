//! What a rule says when it is broken.

use std::fmt;

/// One breach, with the place to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    place: String,
    line: usize,
    says: String,
}

impl Finding {
    pub(super) fn new(place: &str, line: usize, says: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            line,
            says: says.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place, self.line, self.says)
    }
}
