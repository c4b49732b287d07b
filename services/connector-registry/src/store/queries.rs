//! Reading connectors. Only published ones are ever seen here, and every query names its scopes.

use names::{ConnectorName, ScopeName};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QuerySelect as _, Select,
};

use super::{
    Error, Selection, Store,
    entity::{connector, lease},
    filters,
    row::{self, LIVE},
};
use crate::domain::{
    connector::Connector,
    filter::Filter,
    lease::Lease,
    order::{Cursor, Order},
};

/// A page of a list.
#[derive(Debug, Clone)]
pub struct ListQuery<'a> {
    /// Of which scopes.
    pub selection: &'a Selection,
    /// Which of them.
    pub filter: &'a Filter,
    /// In which order.
    pub order: Order,
    /// After which row.
    pub after: Option<&'a Cursor>,
    /// How many at most.
    pub limit: u64,
}

impl Store {
    /// The published connector of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of the database.
    pub async fn get(&self, name: &ConnectorName) -> Result<Connector, Error> {
        let transaction = self.database.begin_read().await?;
        find(&*transaction, named(name)).await
    }

    /// The position of a published connector's last change, without the connector.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revision_of(&self, name: &ConnectorName) -> Result<Option<i64>, Error> {
        let revision = named(name)
            .select_only()
            .column(connector::Column::Revision)
            .into_tuple()
            .one(self.database.connection())
            .await?;
        Ok(revision)
    }

    /// The published connectors of a page.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list(&self, query: ListQuery<'_>) -> Result<Vec<Connector>, Error> {
        let ListQuery {
            selection,
            filter,
            order,
            after,
            limit,
        } = query;
        let transaction = self.database.begin_read().await?;
        let select = live()
            .filter(selection.condition(connector::Column::Scope, connector::Column::ScopeKind))
            .filter(filters::filter(filter));
        let rows = filters::page(select, order, after)
            .limit(limit)
            .all(&*transaction)
            .await?;
        row::connectors(&*transaction, rows).await
    }

    /// How many connectors count towards a scope's quota.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count(&self, scope: &ScopeName) -> Result<u64, Error> {
        count(self.database.connection(), scope).await
    }

    /// Who holds the sessions, or held them last.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lease(&self) -> Result<Option<Lease>, Error> {
        let row = lease::Entity::find()
            .one(self.database.connection())
            .await?;
        Ok(row.map(row::lease))
    }
}

/// Published connectors.
pub(super) fn live() -> Select<connector::Entity> {
    connector::Entity::find().filter(connector::Column::Phase.eq(LIVE))
}

/// The published connector of this name.
pub(super) fn named(name: &ConnectorName) -> Select<connector::Entity> {
    live()
        .filter(connector::Column::Scope.eq(name.scope().to_string()))
        .filter(connector::Column::ConnectorId.eq(name.id().as_str()))
}

/// The only connector of a query.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    query: Select<connector::Entity>,
) -> Result<Connector, Error> {
    let row = query.one(connection).await?.ok_or(Error::NotFound)?;
    row::connectors(connection, vec![row])
        .await?
        .pop()
        .ok_or(Error::NotFound)
}

/// How many connectors count towards a scope's quota, those being created included.
pub(super) async fn count(
    connection: &impl ConnectionTrait,
    scope: &ScopeName,
) -> Result<u64, Error> {
    let of_scope = connector::Entity::find().filter(connector::Column::Scope.eq(scope.to_string()));
    Ok(of_scope.count(connection).await?)
}
