//! Filters, selections and page boundaries as conditions on rows. Values are always bound, never written into SQL.

use names::{ScopeKind, ScopeSelector};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, Order as Direction, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _, Select,
    sea_query::{IntoCondition as _, SimpleExpr, Value},
};

use super::{
    entity::{connector, label},
    row::scope_kind,
};
use crate::domain::{
    filter::{Filter, Term},
    order::{Cursor, Order, OrderField},
};

/// Which connectors of which scopes a query is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every scope.
    Everything,
    /// These scopes.
    Scopes(Vec<ScopeSelector>),
}

impl Selection {
    /// The rows of the selection, by their scope and scope_kind columns.
    pub(super) fn condition<C: sea_orm::ColumnTrait>(&self, scope: C, kind: C) -> Condition {
        match self {
            Self::Everything => Condition::all(),
            Self::Scopes(selectors) => selectors.iter().fold(Condition::any(), |any, selector| {
                any.add(match selector {
                    ScopeSelector::One(name) => scope.eq(name.to_string()),
                    ScopeSelector::AllUsers => kind.eq(scope_kind(ScopeKind::User)),
                    ScopeSelector::AllProjects => kind.eq(scope_kind(ScopeKind::Project)),
                })
            }),
        }
    }
}

/// The rows that satisfy `filter`.
pub(super) fn filter(filter: &Filter) -> Condition {
    match filter {
        Filter::All(parts) => parts
            .iter()
            .fold(Condition::all(), |all, part| all.add(self::filter(part))),
        Filter::Any(parts) => parts
            .iter()
            .fold(Condition::any(), |any, part| any.add(self::filter(part))),
        Filter::Not(part) => self::filter(part).not(),
        Filter::Is(term) => self::term(term).into_condition(),
    }
}

fn term(term: &Term) -> SimpleExpr {
    match term {
        Term::State(state) => connector::Column::State.eq(state.as_str()),
        Term::Condition(condition) => {
            connector::Column::State.is_in(condition.states().map(|state| state.as_str()))
        }
        Term::Transport(kind) => connector::Column::Transport.eq(kind.as_str()),
        Term::Source(source) => connector::Column::Source.eq(source.as_str()),
        Term::Enabled(enabled) => connector::Column::Enabled.eq(*enabled),
        Term::DisplayName(name) => connector::Column::DisplayName.eq(name.as_str()),
        Term::Label { key, value } => {
            let labelled = label::Entity::find()
                .select_only()
                .column(label::Column::ConnectorUid)
                .filter(label::Column::LabelKey.eq(key.as_str()))
                .filter(label::Column::LabelValue.eq(value.as_str()))
                .into_query();
            connector::Column::Uid.in_subquery(labelled)
        }
    }
}

/// `select` in this order, starting after `after`.
pub(super) fn page(
    select: Select<connector::Entity>,
    order: Order,
    after: Option<&Cursor>,
) -> Select<connector::Entity> {
    let time = match order.field {
        OrderField::Name => None,
        OrderField::CreateTime => Some(connector::Column::CreateTime),
        OrderField::UpdateTime => Some(connector::Column::UpdateTime),
    };
    let mut keys: Vec<(connector::Column, Option<Value>)> = Vec::new();
    if let Some(time) = time {
        keys.push((time, after.map(|cursor| cursor.time.into())));
    }
    keys.push((
        connector::Column::Scope,
        after.map(|cursor| cursor.scope.as_str().into()),
    ));
    keys.push((
        connector::Column::ConnectorId,
        after.map(|cursor| cursor.connector_id.as_str().into()),
    ));
    let direction = if order.descending {
        Direction::Desc
    } else {
        Direction::Asc
    };
    let boundary = after.is_some().then(|| beyond(&keys, order.descending));
    let ordered = keys.iter().fold(select, |select, (column, _)| {
        select.order_by(*column, direction.clone())
    });
    match boundary {
        Some(boundary) => ordered.filter(boundary),
        None => ordered,
    }
}

/// The rows strictly beyond a boundary in lexicographic order.
fn beyond(keys: &[(connector::Column, Option<Value>)], descending: bool) -> Condition {
    let mut any = Condition::any();
    let mut equal = Condition::all();
    for (column, value) in keys {
        let Some(value) = value else { continue };
        let past = if descending {
            column.lt(value.clone())
        } else {
            column.gt(value.clone())
        };
        any = any.add(equal.clone().add(past));
        equal = equal.add(column.eq(value.clone()));
    }
    any
}
