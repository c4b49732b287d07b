//! Tools of published connectors, and their definitions.
//!
//! Invariant: a definition is only ever read through a tool of a connector in the scope that was asked for, never by its
//! hash alone.

use std::collections::HashMap;

use database::retry;
use names::{ConnectorName, ScopeName};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::OnConflict,
};
use serde::{Deserialize, Serialize};

use super::{
    Error, Store,
    entity::{connector, definition, tool},
    queries::{live, named},
};
use crate::domain::{definition::Definition, timestamp::Timestamp};

/// Whose tools.
#[derive(Debug, Clone)]
pub enum ToolScope {
    /// Those of one connector.
    Connector(ConnectorName),
    /// Those of all connectors of a scope.
    Scope(ScopeName),
}

/// How much of each definition to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolDetail {
    /// Title and description.
    Basic,
    /// The definition as received, too.
    Full,
}

/// The last tool of a page: the next page starts after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCursor {
    /// The tool's connector.
    pub connector_id: String,
    /// Its position among the connector's tools.
    pub position: i32,
}

/// A tool with what is known of its definition.
#[derive(Debug, Clone)]
pub struct ToolRow {
    /// Its connector.
    pub connector: ConnectorName,
    /// Its own name.
    pub name: String,
    /// Its position among the connector's tools.
    pub position: i32,
    /// The hash of its definition.
    pub hash: String,
    /// For people; empty until the definition has arrived.
    pub title: String,
    /// For people; empty until the definition has arrived.
    pub description: String,
    /// The definition as received; empty until it has arrived, or when it was not asked for.
    pub json: String,
}

impl Store {
    /// At least one and at most `limit` tools after `after`, of one connector; none at the end. The caller goes on for
    /// more.
    ///
    /// # Errors
    /// [`Error::NotFound`] when a connector was named that is not there, and those of the database.
    pub async fn tools(
        &self,
        of: &ToolScope,
        detail: ToolDetail,
        after: Option<&ToolCursor>,
        limit: u64,
    ) -> Result<Vec<ToolRow>, Error> {
        let transaction = self.database.begin_read().await?;
        let mut owners = match of {
            ToolScope::Connector(name) => {
                named(name)
                    .one(&*transaction)
                    .await?
                    .ok_or(Error::NotFound)?;
                named(name)
            }
            ToolScope::Scope(scope) => {
                live().filter(connector::Column::Scope.eq(scope.to_string()))
            }
        };
        if let Some(after) = after {
            owners = owners.filter(connector::Column::ConnectorId.gte(after.connector_id.as_str()));
        }
        let owners = owners
            .filter(connector::Column::ToolCount.gt(0))
            .order_by_asc(connector::Column::ConnectorId)
            // The boundary's connector may have no more tools; the one after it has some.
            .limit(2)
            .all(&*transaction)
            .await?;
        for owner in owners {
            let mut select = tool::Entity::find()
                .filter(tool::Column::ConnectorUid.eq(owner.uid))
                .order_by_asc(tool::Column::Position)
                .limit(limit);
            if let Some(after) = after.filter(|after| after.connector_id == owner.connector_id) {
                select = select.filter(tool::Column::Position.gt(after.position));
            }
            let rows = select.all(&*transaction).await?;
            if !rows.is_empty() {
                return with_definitions(&*transaction, &owner, rows, detail).await;
            }
        }
        Ok(Vec::new())
    }

    /// Stores definitions that some tool refers to; others are left out. Answers how many are stored.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn store_definitions(
        &self,
        mut definitions: Vec<Definition>,
        now: Timestamp,
    ) -> Result<u32, Error> {
        // One order for all writers, so that two never wait for each other.
        definitions.sort_by(|left, right| left.hash.cmp(&right.hash));
        retry(|| self.try_store_definitions(&definitions, now)).await
    }

    async fn try_store_definitions(
        &self,
        definitions: &[Definition],
        now: Timestamp,
    ) -> Result<u32, Error> {
        let transaction = self.database.begin_write().await?;
        let mut stored = 0;
        for definition in definitions {
            let Definition {
                hash,
                json,
                title,
                description,
            } = definition;
            let used = tool::Entity::find().filter(tool::Column::DefinitionHash.eq(hash.as_str()));
            if used.limit(1).count(&*transaction).await? == 0 {
                continue;
            }
            let row = definition::ActiveModel {
                hash: Set(hash.as_str().to_owned()),
                content: Set(json.clone().into_bytes()),
                title: Set(title.clone()),
                description: Set(description.clone()),
                used_time: Set(now.micros()),
            };
            definition::Entity::insert(row)
                .on_conflict(
                    OnConflict::column(definition::Column::Hash)
                        .do_nothing()
                        .to_owned(),
                )
                .exec_without_returning(&*transaction)
                .await?;
            stored += 1;
        }
        transaction.commit().await?;
        Ok(stored)
    }
}

async fn with_definitions(
    connection: &impl ConnectionTrait,
    owner: &connector::Model,
    rows: Vec<tool::Model>,
    detail: ToolDetail,
) -> Result<Vec<ToolRow>, Error> {
    let scope = owner
        .scope
        .parse()
        .map_err(|_| Error::Corrupt("connectors.scope"))?;
    let id = owner
        .connector_id
        .parse()
        .map_err(|_| Error::Corrupt("connectors.connector_id"))?;
    let connector = ConnectorName::new(scope, id);
    let known = known_definitions(connection, &rows, detail).await?;
    let shown = rows.into_iter().map(|row| {
        let (title, description, json) = match known.get(&row.definition_hash) {
            Some(definition) => definition.clone(),
            None => Default::default(),
        };
        ToolRow {
            connector: connector.clone(),
            name: row.name,
            position: row.position,
            hash: row.definition_hash,
            title,
            description,
            json,
        }
    });
    Ok(shown.collect())
}

/// Title, description and JSON of the definitions that have arrived, by hash.
async fn known_definitions(
    connection: &impl ConnectionTrait,
    rows: &[tool::Model],
    detail: ToolDetail,
) -> Result<HashMap<String, (String, String, String)>, Error> {
    use definition::{Column, Entity};
    let hashes = rows.iter().map(|row| row.definition_hash.as_str());
    let texts = Entity::find()
        .select_only()
        .columns([Column::Hash, Column::Title, Column::Description])
        .filter(Column::Hash.is_in(hashes));
    match detail {
        ToolDetail::Basic => {
            let found: Vec<(String, String, String)> = texts.into_tuple().all(connection).await?;
            let entry = |(hash, title, description)| (hash, (title, description, String::new()));
            Ok(found.into_iter().map(entry).collect())
        }
        ToolDetail::Full => {
            let whole = texts.column(Column::Content).into_tuple();
            let found: Vec<(String, String, String, Vec<u8>)> = whole.all(connection).await?;
            let entry = |(hash, title, description, content)| {
                let json = String::from_utf8(content);
                let json = json.map_err(|_| Error::Corrupt("definitions.content"))?;
                Ok((hash, (title, description, json)))
            };
            found.into_iter().map(entry).collect()
        }
    }
}
