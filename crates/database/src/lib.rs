//! The one way in which a service reaches its database, SQLite or PostgreSQL: pool, transactions,
//! classified errors, schema check.
//!
//! Writers go through [`Database::begin_write`], so that on SQLite no transaction ever starts as a
//! reader and then fails to become a writer. Connection URLs print without their password.
//!
//! Not here: entities and queries (each service's `store`), migrations (`migrations`), and any decision
//! about what may be written.

mod config;
mod connect;
mod error;
mod retry;
mod schema;
#[cfg(feature = "testing")]
pub mod testing;
mod timestamp;
mod transaction;

pub use config::{DatabaseConfig, DatabaseUrl, DatabaseUrlError, Engine};
pub use connect::Database;
pub use error::Error;
pub use retry::{Contended, retry};
pub use schema::{Schema, SchemaError};
pub use timestamp::timestamp;
pub use transaction::{ReadTransaction, Savepoint, WriteTransaction};
