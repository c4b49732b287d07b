//! Destination records, secrets, their sealed versions, and remembered write requests.
//!
//! A secret's row is kept for ever: a deleted one is a tombstone, so that version numbers never repeat.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, binary_null, integer, small_integer, string, text, uuid,
    uuid_null,
};

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "r0001_0002_secrets"
    }
}

/// One live secret for each place; any number of tombstones.
const ONE_LIVE: &str = "CREATE UNIQUE INDEX secrets_one_live ON secrets \
    (scope, connector, kind, field_name) WHERE state = 'active'";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [destinations(), secrets(), secret_versions(), requests()] {
            manager.create_table(table).await?;
        }
        manager
            .get_connection()
            .execute_unprepared(ONE_LIVE)
            .await?;
        let indexes = [
            Index::create()
                .name("destinations_found_by")
                .table("destinations")
                .col("scope")
                .col("connector")
                .col("digest")
                .unique()
                .to_owned(),
            Index::create()
                .name("secrets_by_scope")
                .table("secrets")
                .col("scope")
                .col("id")
                .to_owned(),
            Index::create()
                .name("secrets_by_connector")
                .table("secrets")
                .col("scope")
                .col("connector")
                .col("id")
                .to_owned(),
            // Answers "does anything still go there" when destinations are forgotten.
            Index::create()
                .name("secret_versions_by_destination")
                .table("secret_versions")
                .col("destination")
                .to_owned(),
            // Answers "does anything still need this key" when a term is retired.
            Index::create()
                .name("secret_versions_by_data_key")
                .table("secret_versions")
                .col("data_key")
                .to_owned(),
            Index::create()
                .name("requests_by_create_time")
                .table("requests")
                .col("create_time")
                .to_owned(),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["requests", "secret_versions", "secrets", "destinations"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

/// Where a secret may go. `digest` finds a record again, `mac` makes it impossible to edit.
fn destinations() -> TableCreateStatement {
    Table::create()
        .table("destinations")
        .col(uuid("id").primary_key())
        .col(string("scope"))
        .col(uuid("connector"))
        .col(binary("digest"))
        .col(text("destinations"))
        .col(big_integer("record_version"))
        .col(binary("mac"))
        .col(big_integer("create_time"))
        .to_owned()
}

/// `head_mac` binds secret, current version, state and destination together. The destination is no foreign
/// key: it stays part of what the MAC says when nothing goes there any more and its record is gone.
fn secrets() -> TableCreateStatement {
    Table::create()
        .table("secrets")
        .col(uuid("id").primary_key())
        .col(string("scope"))
        .col(uuid("connector"))
        .col(small_integer("kind"))
        .col(text("field_name"))
        .col(big_integer("current_version"))
        .col(uuid("destination"))
        .col(string("state"))
        .col(binary("head_mac"))
        .col(big_integer("create_time"))
        .col(big_integer("update_time"))
        .to_owned()
}

/// A destroyed version has neither envelope nor key nor destination.
fn secret_versions() -> TableCreateStatement {
    Table::create()
        .table("secret_versions")
        .col(uuid("secret"))
        .col(big_integer("version"))
        .col(uuid_null("destination"))
        .col(uuid_null("data_key"))
        .col(binary_null("envelope"))
        .col(string("state"))
        .col(integer("length_bucket"))
        .col(binary("fingerprint"))
        .col(big_integer("create_time"))
        .col(big_integer_null("destroy_time"))
        .primary_key(Index::create().col("secret").col("version"))
        .foreign_key(
            ForeignKey::create()
                .from("secret_versions", "secret")
                .to("secrets", "id"),
        )
        .foreign_key(
            ForeignKey::create()
                .from("secret_versions", "destination")
                .to("destinations", "id"),
        )
        .foreign_key(
            ForeignKey::create()
                .from("secret_versions", "data_key")
                .to("data_keys", "key_id"),
        )
        .to_owned()
}

/// Writes answered in the last day, so that a repeat answers as the first did.
fn requests() -> TableCreateStatement {
    Table::create()
        .table("requests")
        .col(string("subject"))
        .col(uuid("request_id"))
        .col(binary("body_mac"))
        .col(string("scope"))
        .col(uuid("secret"))
        .col(big_integer("version"))
        .col(big_integer("create_time"))
        .primary_key(Index::create().col("subject").col("request_id"))
        .to_owned()
}
