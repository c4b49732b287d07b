//! One page of a list, cut into the exact bytes of its items.
//!
//! Items are not looked into here, so that a malformed one costs nothing but itself; how many are held is bounded, so
//! that a page of a million zeros costs no more than its own bytes.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Items of one page that are looked at.
const MAX_ITEMS: usize = 10_000;

/// One page.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// The exact text of each item.
    pub(super) tools: Vec<&'a RawValue>,
    /// Whether there were more items than are looked at.
    pub(super) is_cut: bool,
    /// Where the list goes on.
    pub(super) next_cursor: Option<String>,
}

/// The page as JSON.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    tools: Items<'a>,
    #[serde(default, rename = "nextCursor")]
    next_cursor: Option<String>,
}

/// The items, up to the bound.
struct Items<'a> {
    items: Vec<&'a RawValue>,
    is_cut: bool,
}

impl<'a> Page<'a> {
    /// Reads a result; `None` when it has not the shape of a page.
    pub(super) fn parse(result: &'a [u8]) -> Option<Self> {
        // A list would be taken for the members in their order.
        if !result.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let shape: Shape<'a> = serde_json::from_slice(result).ok()?;
        Some(Self {
            tools: shape.tools.items,
            is_cut: shape.tools.is_cut,
            next_cursor: shape.next_cursor,
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

/// Reads the items.
struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Items<'de>, A::Error> {
        let mut items = Vec::new();
        while items.len() < MAX_ITEMS {
            match sequence.next_element::<&'de RawValue>()? {
                Some(item) => items.push(item),
                None => {
                    return Ok(Items {
                        items,
                        is_cut: false,
                    });
                }
            }
        }
        let mut is_cut = false;
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            is_cut = true;
        }
        Ok(Items { items, is_cut })
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ITEMS, Page};

    #[test]
    fn items_keep_their_exact_bytes() {
        let page = Page::parse(
            br#"{"x":1,"tools":[ {"b":1.0,"a":12345678901234567890} , 7 ],"nextCursor":"n"}"#,
        )
        .unwrap();
        let texts: Vec<_> = page.tools.iter().map(|raw| raw.get()).collect();
        assert_eq!(texts, [r#"{"b":1.0,"a":12345678901234567890}"#, "7"]);
        assert_eq!(page.next_cursor.as_deref(), Some("n"));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for result in [
            "{}",
            "[]",
            "[[],null]",
            "null",
            r#"{"tools":{}}"#,
            r#"{"tools":null}"#,
            r#"{"tools":[],"nextCursor":7}"#,
        ] {
            assert!(Page::parse(result.as_bytes()).is_none(), "{result}");
        }
    }

    #[test]
    fn a_page_of_a_million_items_is_cut() {
        let result = format!(r#"{{"tools":[0{}]}}"#, ",0".repeat(1_000_000));
        let page = Page::parse(result.as_bytes()).unwrap();
        assert_eq!(page.tools.len(), MAX_ITEMS);
        assert!(page.is_cut);
    }
}
