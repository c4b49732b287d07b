//! Which service has which migrations and where they are recorded.
//!
//! A migration's name is `r<release>_<number>_<what>`, for example `r0001_0001_connectors`: four digits
//! of the schema release that brought it and four digits that order it. The release stands in the name
//! because the tracking table then tells an older binary how far ahead a schema is, even for
//! migrations that binary has never heard of.

use sea_orm_migration::sea_orm::DynIden;
use sea_orm_migration::sea_query::{Alias, IntoIden as _};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use crate::{registry, vault};

/// The connector registry's schema.
#[derive(Debug, Clone, Copy)]
pub struct Registry;

/// The secret vault's schema.
#[derive(Debug, Clone, Copy)]
pub struct Vault;

impl MigratorTrait for Registry {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        registry::migrations()
    }

    fn migration_table_name() -> DynIden {
        Alias::new("registry_migrations").into_iden()
    }
}

impl MigratorTrait for Vault {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vault::migrations()
    }

    fn migration_table_name() -> DynIden {
        Alias::new("vault_migrations").into_iden()
    }
}

/// The names of a service's migrations, oldest first: what a schema must hold for this build to run on it.
#[must_use]
pub fn names<M: MigratorTrait>() -> Vec<String> {
    M::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect()
}

/// The table that records which migrations of a service a database holds.
#[must_use]
pub fn tracking_table<M: MigratorTrait>() -> String {
    M::migration_table_name().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well_formed(name: &str) -> bool {
        let mut parts = name.splitn(3, '_');
        let digits = |part: &str| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_digit());
        let release = parts
            .next()
            .and_then(|part| part.strip_prefix('r'))
            .is_some_and(digits);
        let number = parts.next().is_some_and(digits);
        release && number && parts.next().is_some_and(|what| !what.is_empty())
    }

    fn check(names: &[String]) {
        assert!(
            names.is_sorted_by(|a, b| a < b),
            "in order and unique: {names:?}"
        );
        for name in names {
            assert!(well_formed(name), "r<release>_<number>_<what>: {name}");
        }
    }

    #[test]
    fn names_are_ordered_unique_and_carry_their_release() {
        check(&names::<Registry>());
        check(&names::<Vault>());
        assert!(well_formed("r0001_0001_connectors"));
        assert!(!well_formed("m20260101_connectors"));
        assert!(!well_formed("r1_1_connectors"));
    }

    #[test]
    fn each_service_records_its_migrations_in_its_own_table() {
        assert_eq!(tracking_table::<Registry>(), "registry_migrations");
        assert_eq!(tracking_table::<Vault>(), "vault_migrations");
    }
}
