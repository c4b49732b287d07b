//! Migrations of the secret vault, oldest first.
//!
//! Not here: what runs them (`run`), what they are recorded in (`migrator`).

use sea_orm_migration::MigrationTrait;

mod r0001_0001_keys;
mod r0001_0002_secrets;
mod r0001_0003_releases;

/// All migrations in the order in which they are applied.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(r0001_0001_keys::Migration),
        Box::new(r0001_0002_secrets::Migration),
        Box::new(r0001_0003_releases::Migration),
    ]
}
