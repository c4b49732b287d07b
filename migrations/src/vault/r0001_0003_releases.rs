//! Grants, leases and the audit chain.
//!
//! Tokens stand here as keyed digests only. Every grant and lease row carries a MAC over itself, so that
//! who may write this table still cannot make or change one.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, binary_uniq, integer, string, text, text_null, uuid,
    uuid_null,
};

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "r0001_0003_releases"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [grants(), leases(), audit_events(), audit_heads()] {
            manager.create_table(table).await?;
        }
        for table in ["grants", "leases"] {
            let by_connector = Index::create()
                .name(format!("{table}_by_connector"))
                .table(table)
                .col("scope")
                .col("connector")
                .to_owned();
            manager.create_index(by_connector).await?;
            let by_expiry = Index::create()
                .name(format!("{table}_by_expire_time"))
                .table(table)
                .col("expire_time")
                .to_owned();
            manager.create_index(by_expiry).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["audit_heads", "audit_events", "leases", "grants"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

fn grants() -> TableCreateStatement {
    Table::create()
        .table("grants")
        .col(uuid("id").primary_key())
        .col(binary_uniq("token_mac"))
        .col(string("scope"))
        .col(uuid("connector"))
        .col(text("destination"))
        .col(text("subject"))
        .col(text("instance_id"))
        .col(big_integer("lease_epoch"))
        .col(text("secrets"))
        .col(integer("uses"))
        .col(integer("max_uses"))
        .col(big_integer("create_time"))
        .col(big_integer("expire_time"))
        .col(binary("mac"))
        .to_owned()
}

fn leases() -> TableCreateStatement {
    Table::create()
        .table("leases")
        .col(uuid("id").primary_key())
        .col(binary_uniq("token_mac"))
        .col(uuid("grant_id"))
        .col(string("scope"))
        .col(uuid("connector"))
        .col(text("subject"))
        .col(text("instance_id"))
        .col(big_integer("lease_epoch"))
        .col(string("state"))
        .col(big_integer("create_time"))
        .col(big_integer("expire_time"))
        .col(binary("mac"))
        .to_owned()
}

/// Append-only; one chain for each scope.
fn audit_events() -> TableCreateStatement {
    Table::create()
        .table("audit_events")
        .col(string("scope"))
        .col(big_integer("seq"))
        .col(big_integer("time"))
        .col(text("actor"))
        .col(text_null("acting_user"))
        .col(string("method"))
        .col(uuid_null("connector"))
        .col(uuid_null("secret"))
        .col(big_integer_null("version"))
        .col(uuid_null("grant_id"))
        .col(uuid_null("lease_id"))
        .col(string("decision"))
        .col(string("reason"))
        .col(text_null("request_id"))
        .col(binary("prev"))
        .col(binary("mac"))
        .primary_key(Index::create().col("scope").col("seq"))
        .to_owned()
}

/// The end of each chain; moved by compare-and-set in the transaction that appends.
fn audit_heads() -> TableCreateStatement {
    Table::create()
        .table("audit_heads")
        .col(string("scope").primary_key())
        .col(big_integer("seq"))
        .col(binary("mac"))
        .to_owned()
}
