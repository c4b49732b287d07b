//! Positions in the change feed, and whether a watcher may go on from one.
//!
//! Invariant: a position is worth something only in the feed that gave it; a restored database is another feed. Not
//! here: reading the feed.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Where a watcher stands: everything up to `revision` of this feed was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the database that counts these revisions.
    pub feed: Uuid,
    /// The last revision told.
    pub revision: i64,
}

/// The feed as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// The life of the database.
    pub id: Uuid,
    /// The newest revision.
    pub revision: i64,
    /// The lowest revision a watcher can go on from; what was deleted before is forgotten.
    pub oldest: i64,
}

/// Why a watcher has to start over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unresumable {
    /// The position was given by another life of the database.
    #[error("the resume token belongs to another feed")]
    Foreign,
    /// Deletions after the position may be forgotten.
    #[error("the resume token is too old")]
    TooOld,
    /// The feed never came that far: a restored database.
    #[error("the resume token is ahead of the feed")]
    Ahead,
}

impl Feed {
    /// The feed's newest position.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            feed: self.id,
            revision: self.revision,
        }
    }

    /// Whether a watcher may go on from `position` without a gap.
    ///
    /// # Errors
    /// [`Unresumable`] when it has to start over.
    pub fn check(&self, position: Position) -> Result<(), Unresumable> {
        if position.feed != self.id {
            Err(Unresumable::Foreign)
        } else if position.revision > self.revision {
            Err(Unresumable::Ahead)
        } else if position.revision < self.oldest {
            Err(Unresumable::TooOld)
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.feed.simple(), self.revision)
    }
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a resume token of this service")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (feed, revision) = text.split_once('.').ok_or(InvalidPosition)?;
        let parsed = Self {
            feed: Uuid::try_parse(feed).map_err(|_| InvalidPosition)?,
            revision: revision.parse().map_err(|_| InvalidPosition)?,
        };
        if parsed.revision >= 0 && parsed.to_string() == text {
            Ok(parsed)
        } else {
            Err(InvalidPosition)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed() -> Feed {
        Feed {
            id: Uuid::from_u128(7),
            revision: 20,
            oldest: 5,
        }
    }

    #[test]
    fn a_watcher_goes_on_only_where_nothing_is_forgotten() {
        let at = |revision| Position {
            feed: feed().id,
            revision,
        };
        assert_eq!(feed().check(at(5)), Ok(()));
        assert_eq!(feed().check(at(20)), Ok(()));
        assert_eq!(feed().check(at(4)), Err(Unresumable::TooOld));
        assert_eq!(feed().check(at(21)), Err(Unresumable::Ahead));
        let foreign = Position {
            feed: Uuid::from_u128(8),
            revision: 10,
        };
        assert_eq!(feed().check(foreign), Err(Unresumable::Foreign));
    }

    proptest! {
        #[test]
        fn positions_have_one_spelling(id: u128, revision in 0i64..) {
            let position = Position { feed: Uuid::from_u128(id), revision };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn other_text_is_refused(text in "\\PC{0,50}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
