//! How a list is ordered, and where a page of it ends.
//!
//! Invariant: every order ends in the connector's full name, so that no two rows are equal and a page boundary is exact.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::connector::Connector;

/// What a list is ordered by, before the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderField {
    /// By scope and id; the default.
    #[default]
    Name,
    /// By creation.
    CreateTime,
    /// By last change of the desired fields.
    UpdateTime,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// What decides.
    pub field: OrderField,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// Why an order was refused; safe to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("order_by is one of name, create_time, update_time, each with an optional ' desc'")]
pub struct InvalidOrder;

impl FromStr for Order {
    type Err = InvalidOrder;

    fn from_str(text: &str) -> Result<Self, InvalidOrder> {
        let mut words = text.split_ascii_whitespace();
        let field = match words.next() {
            None => return Ok(Self::default()),
            Some("name") => OrderField::Name,
            Some("create_time") => OrderField::CreateTime,
            Some("update_time") => OrderField::UpdateTime,
            Some(_) => return Err(InvalidOrder),
        };
        let descending = match words.next() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(InvalidOrder),
        };
        if words.next().is_some() {
            Err(InvalidOrder)
        } else {
            Ok(Self { field, descending })
        }
    }
}

/// The last row of a page: the next page starts after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The row's time, when the order is by one; else 0.
    pub time: i64,
    /// The row's scope.
    pub scope: String,
    /// The row's connector id.
    pub connector_id: String,
}

impl Cursor {
    /// The boundary after `connector` in this order.
    #[must_use]
    pub fn after(connector: &Connector, order: Order) -> Self {
        let time = match order.field {
            OrderField::Name => 0,
            OrderField::CreateTime => connector.create_time.micros(),
            OrderField::UpdateTime => connector.update_time.micros(),
        };
        Self {
            time,
            scope: connector.name.scope().to_string(),
            connector_id: connector.name.id().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_others_refused() {
        let order = |text: &str| text.parse::<Order>();
        assert_eq!(order(""), Ok(Order::default()));
        let newest = Order {
            field: OrderField::CreateTime,
            descending: true,
        };
        assert_eq!(order("create_time desc"), Ok(newest));
        assert_eq!(
            order(" update_time  asc ").map(|found| found.descending),
            Ok(false)
        );
        for text in [
            "uid",
            "display_name",
            "name DESC",
            "name desc desc",
            "name, create_time",
            "name; drop",
        ] {
            assert_eq!(order(text), Err(InvalidOrder), "{text}");
        }
    }
}
