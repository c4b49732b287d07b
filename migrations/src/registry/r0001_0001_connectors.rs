//! Scopes, connectors with their labels and secret references, tombstones, the change feed, remembered requests,
//! the runtime's lease and the outbox.
//!
//! Times are integers, microseconds since the epoch: text dates compare differently on the two databases. Whole
//! documents (`spec`, `status`) are JSON text that no query looks into; whatever a filter needs is a column.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, binary, boolean, integer, pk_uuid, small_integer, string, text, uuid,
};

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "r0001_0001_connectors"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            feed(),
            scopes(),
            connectors(),
            labels(),
            secrets(),
            tombstones(),
            requests(),
            runtime_lease(),
            outbox(),
        ] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            "outbox",
            "runtime_lease",
            "requests",
            "tombstones",
            "connector_secrets",
            "connector_labels",
            "connectors",
            "scopes",
            "feed",
        ] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

/// One row: the position of the change feed. Its lock is what puts writers in the order of their revisions.
fn feed() -> TableCreateStatement {
    Table::create()
        .table("feed")
        .col(small_integer("id").primary_key())
        .col(uuid("feed_id"))
        .col(big_integer("revision"))
        .col(big_integer("oldest_revision"))
        .to_owned()
}

/// One row for each life of a scope. Its lock is what makes counting a quota safe.
fn scopes() -> TableCreateStatement {
    Table::create()
        .table("scopes")
        .col(string("scope").primary_key())
        .col(uuid("scope_uid").unique_key())
        .col(big_integer("create_time"))
        .to_owned()
}

fn connectors() -> TableCreateStatement {
    Table::create()
        .table("connectors")
        .col(pk_uuid("uid"))
        .col(string("scope"))
        .col(string("scope_kind"))
        .col(string("connector_id"))
        .col(string("phase"))
        .col(string("source"))
        .col(string("transport"))
        .col(boolean("enabled"))
        .col(string("display_name"))
        .col(text("spec"))
        .col(string("state"))
        .col(text("status"))
        .col(integer("tool_count"))
        .col(big_integer("observed_generation"))
        .col(big_integer("generation"))
        .col(big_integer("policy_generation"))
        .col(big_integer("status_revision"))
        .col(big_integer("desired_revision"))
        .col(big_integer("revision"))
        .col(big_integer("create_time"))
        .col(big_integer("update_time"))
        .foreign_key(
            ForeignKey::create()
                .from("connectors", "scope")
                .to("scopes", "scope"),
        )
        .to_owned()
}

fn labels() -> TableCreateStatement {
    Table::create()
        .table("connector_labels")
        .col(uuid("connector_uid"))
        .col(string("label_key"))
        .col(string("label_value"))
        .primary_key(Index::create().col("connector_uid").col("label_key"))
        .foreign_key(&mut of_connector("connector_labels"))
        .to_owned()
}

fn secrets() -> TableCreateStatement {
    Table::create()
        .table("connector_secrets")
        .col(uuid("connector_uid"))
        .col(string("kind"))
        .col(string("field"))
        .col(string("secret_name"))
        .col(big_integer("version"))
        .col(string("fingerprint"))
        .col(text("destination"))
        .col(big_integer("update_time"))
        .primary_key(
            Index::create()
                .col("connector_uid")
                .col("kind")
                .col("field"),
        )
        .foreign_key(&mut of_connector("connector_secrets"))
        .to_owned()
}

/// What a watcher that was away must hear of connectors that are gone.
fn tombstones() -> TableCreateStatement {
    Table::create()
        .table("tombstones")
        .col(pk_uuid("uid"))
        .col(string("scope"))
        .col(string("scope_kind"))
        .col(string("connector_id"))
        .col(big_integer("revision"))
        .col(big_integer("delete_time"))
        .to_owned()
}

fn requests() -> TableCreateStatement {
    Table::create()
        .table("requests")
        .col(string("principal"))
        .col(string("target"))
        .col(string("request_id"))
        .col(binary("request_hash"))
        .col(uuid("connector_uid"))
        .col(big_integer("create_time"))
        .primary_key(
            Index::create()
                .col("principal")
                .col("target")
                .col("request_id"),
        )
        .to_owned()
}

/// One row: which runtime holds the sessions, under which epoch, and until when it counts as present.
fn runtime_lease() -> TableCreateStatement {
    Table::create()
        .table("runtime_lease")
        .col(small_integer("id").primary_key())
        .col(string("instance"))
        .col(string("instance_id"))
        .col(big_integer("epoch"))
        .col(big_integer("expire_time"))
        .to_owned()
}

/// Work owed to the vault, written in the transaction that causes it and done afterwards, as often as it takes.
fn outbox() -> TableCreateStatement {
    Table::create()
        .table("outbox")
        .col(pk_uuid("id"))
        .col(string("action"))
        .col(string("connector"))
        .col(uuid("connector_uid"))
        .col(text("subject"))
        .col(integer("attempts"))
        .col(big_integer("next_attempt_time"))
        .col(big_integer("create_time"))
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let plain = |name: &str, table: &str, columns: &[&str]| {
        let mut index = Index::create();
        index.name(name).table(table.to_owned());
        for column in columns {
            index.col((*column).to_owned());
        }
        index
    };
    let mut by_name = plain(
        "connectors_by_name",
        "connectors",
        &["scope", "connector_id"],
    );
    by_name.unique();
    vec![
        by_name.to_owned(),
        plain("connectors_by_revision", "connectors", &["revision"]),
        plain(
            "connectors_by_desired_revision",
            "connectors",
            &["desired_revision"],
        ),
        plain(
            "connectors_by_phase",
            "connectors",
            &["phase", "create_time"],
        ),
        plain("connectors_by_state", "connectors", &["state", "scope"]),
        plain(
            "connectors_by_transport",
            "connectors",
            &["transport", "scope"],
        ),
        plain("connectors_by_source", "connectors", &["source", "scope"]),
        plain(
            "connectors_by_create_time",
            "connectors",
            &["scope", "create_time"],
        ),
        plain(
            "connectors_by_update_time",
            "connectors",
            &["scope", "update_time"],
        ),
        plain(
            "labels_by_value",
            "connector_labels",
            &["label_key", "label_value"],
        ),
        plain("tombstones_by_revision", "tombstones", &["revision"]),
        plain("requests_by_time", "requests", &["create_time"]),
        plain("outbox_by_time", "outbox", &["next_attempt_time"]),
        plain("outbox_by_connector", "outbox", &["connector_uid"]),
    ]
}

fn of_connector(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(table, "connector_uid")
        .to("connectors", "uid")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}
