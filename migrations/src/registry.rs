//! Migrations of the connector registry, oldest first.
//!
//! Not here: what runs them (`run`), what they are recorded in (`migrator`), and what the rows mean.

mod r0001_0001_connectors;
mod r0001_0002_capabilities;

use sea_orm_migration::MigrationTrait;

/// All migrations in the order in which they are applied.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(r0001_0001_connectors::Migration),
        Box::new(r0001_0002_capabilities::Migration),
    ]
}
