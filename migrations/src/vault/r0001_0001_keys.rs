//! The key hierarchy as it stands in the database: only ever wrapped keys.
//!
//! Times are integers, microseconds since the epoch. "Active" is unique by partial indexes, so that two
//! replicas that start together cannot both make a first key.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, small_integer, string, uuid};

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "r0001_0001_keys"
    }
}

const PARTIAL_INDEXES: [&str; 3] = [
    "CREATE UNIQUE INDEX root_keys_one_active ON root_keys (state) WHERE state = 'active'",
    "CREATE UNIQUE INDEX system_keys_one_active ON system_keys (kind) WHERE state = 'active'",
    "CREATE UNIQUE INDEX data_keys_one_active ON data_keys (scope) WHERE state = 'active'",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [deployment(), root_keys(), system_keys(), data_keys()] {
            manager.create_table(table).await?;
        }
        for index in PARTIAL_INDEXES {
            manager.get_connection().execute_unprepared(index).await?;
        }
        manager
            .create_index(unique("data_keys", &["scope", "term"]))
            .await?;
        manager
            .create_index(unique("system_keys", &["kind", "term"]))
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["data_keys", "system_keys", "root_keys", "deployment"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

fn unique(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index
        .name(format!("{table}_{}", columns.join("_")))
        .table(table)
        .unique();
    for column in columns {
        index.col(*column);
    }
    index
}

/// One row: which installation this is. Part of every associated data.
fn deployment() -> TableCreateStatement {
    Table::create()
        .table("deployment")
        .col(small_integer("id").primary_key())
        .col(uuid("deployment_id"))
        .col(big_integer("create_time"))
        .to_owned()
}

/// The root key under each key-encryption key that may open it. `provider_check` tells a wrong
/// provider key from a damaged row.
fn root_keys() -> TableCreateStatement {
    Table::create()
        .table("root_keys")
        .col(uuid("id").primary_key())
        .col(uuid("key_id"))
        .col(big_integer("term"))
        .col(string("provider"))
        .col(binary("provider_check"))
        .col(binary("wrapped"))
        .col(binary("check_value"))
        .col(string("state"))
        .col(big_integer("create_time"))
        .to_owned()
}

/// The vault's own keys: audit, grant, fingerprint. Random, under the root key.
fn system_keys() -> TableCreateStatement {
    Table::create()
        .table("system_keys")
        .col(uuid("key_id").primary_key())
        .col(string("kind"))
        .col(big_integer("term"))
        .col(uuid("root_key_id"))
        .col(binary("wrapped"))
        .col(string("state"))
        .col(big_integer("create_time"))
        .to_owned()
}

/// One data key for each scope and term, under the root key.
fn data_keys() -> TableCreateStatement {
    Table::create()
        .table("data_keys")
        .col(uuid("key_id").primary_key())
        .col(string("scope"))
        .col(big_integer("term"))
        .col(uuid("root_key_id"))
        .col(binary("wrapped"))
        .col(string("state"))
        .col(big_integer("create_time"))
        .to_owned()
}
