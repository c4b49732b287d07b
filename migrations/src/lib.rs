//! The schema of every service, step by step: one [`MigratorTrait`](sea_orm_migration::MigratorTrait)
//! and one tracking table per service, applied forwards and backwards on SQLite and PostgreSQL.
//!
//! A published migration never changes; a new one is added behind it. Every migration can be undone.
//!
//! Not here: entities and queries (each service's `store`), the decision whether a service may start on
//! a schema (`database::Database::check_schema`), and anything else of this workspace.

mod migrator;
mod registry;
mod run;
mod vault;

pub use migrator::{Registry, Vault, names, tracking_table};
pub use run::{Change, Error, State, down, status, up};
