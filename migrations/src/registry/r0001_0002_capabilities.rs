//! Tools of connectors, and their definitions by content hash.
//!
//! A definition is stored once as the bytes that were received; tools point at it by hash. A definition without any tool
//! is removed by the registry's sweeper, not by a foreign key: it may arrive before the tool list that names it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, integer, string, text, uuid};

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "r0001_0002_capabilities"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(tools()).await?;
        manager.create_table(definitions()).await?;
        let by_hash = Index::create()
            .name("tools_by_definition")
            .table("tools")
            .col("definition_hash")
            .to_owned();
        manager.create_index(by_hash).await?;
        let by_use = Index::create()
            .name("definitions_by_used_time")
            .table("definitions")
            .col("used_time")
            .to_owned();
        manager.create_index(by_use).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("definitions").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("tools").to_owned())
            .await
    }
}

fn tools() -> TableCreateStatement {
    Table::create()
        .table("tools")
        .col(uuid("connector_uid"))
        .col(text("name"))
        .col(integer("position"))
        .col(string("definition_hash"))
        .primary_key(Index::create().col("connector_uid").col("name"))
        .foreign_key(
            ForeignKey::create()
                .from("tools", "connector_uid")
                .to("connectors", "uid")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

/// The content stands last: SQLite reads what is before it without following a long row to its end.
fn definitions() -> TableCreateStatement {
    Table::create()
        .table("definitions")
        .col(string("hash").primary_key())
        .col(big_integer("used_time"))
        .col(text("title"))
        .col(text("description"))
        .col(binary("content"))
        .to_owned()
}
