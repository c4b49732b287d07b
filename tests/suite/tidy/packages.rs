//! Which crate may depend on which, as `cargo metadata` tells it.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

use super::finding::Finding;
use super::source;

/// Open to everything but the two that import nothing of ours.
const OPEN: [&str; 2] = ["names", "sensitive"];
const SERVICES: [&str; 3] = ["connector-registry", "secret-vault", "runtime-sync"];
/// What a service may use: every library, and the migrations as a whole.
const LIBRARIES: [&str; 13] = [
    "canonical-json",
    "contracts",
    "database",
    "egress",
    "envelope",
    "identity",
    "lifecycle",
    "mcp-transports",
    "migrations",
    "policy",
    "program",
    "rpc",
    "telemetry",
];

/// One row of the table: who, what of ours it may import, and what it must not depend on at all.
struct Row {
    may: &'static [&'static str],
    must_not: &'static [&'static str],
}

/// A package of the workspace, reduced to what the table speaks of.
pub(super) struct Package {
    name: String,
    /// Name and whether it is for tests only.
    depends_on: Vec<(String, bool)>,
}

fn row(package: &str) -> Option<Row> {
    let row = |may, must_not| Some(Row { may, must_not });
    match package {
        "canonical-json" | "names" | "sensitive" | "contracts" | "telemetry" | "lifecycle"
        | "mcp-transports" => row(&[], &[]),
        "policy" => row(&["canonical-json"], &["tokio"]),
        "envelope" => row(&[], &["tokio"]),
        "egress" => row(&["policy", "lifecycle"], &[]),
        "identity" => row(&["egress", "lifecycle"], &["sea-orm"]),
        "rpc" => row(&["identity", "lifecycle", "telemetry"], &["sea-orm"]),
        "database" => row(&["lifecycle"], &["tonic"]),
        "program" => row(
            &[
                "database",
                "lifecycle",
                "migrations",
                "policy",
                "rpc",
                "telemetry",
            ],
            &[],
        ),
        "xtask" | "migrations" => row(&[], &["names", "sensitive"]),
        service if SERVICES.contains(&service) => row(&LIBRARIES, &[]),
        // These compose the services; nothing composes them.
        "patchbay" | "integration-tests" => row(
            &[
                "canonical-json",
                "contracts",
                "database",
                "egress",
                "envelope",
                "identity",
                "lifecycle",
                "mcp-transports",
                "migrations",
                "policy",
                "program",
                "rpc",
                "telemetry",
                "connector-registry",
                "secret-vault",
                "runtime-sync",
            ],
            &[],
        ),
        _ => None,
    }
}

/// Every dependency that the table does not allow. Dependencies of tests may add any library, no service.
pub(super) fn breaches(packages: &[Package]) -> Vec<Finding> {
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut found = Vec::new();
    for Package { name, depends_on } in packages {
        let Some(Row { may, must_not }) = row(name) else {
            found.push(Finding::new(name, 1, "has no row in the import table"));
            continue;
        };
        for (dependency, for_tests) in depends_on {
            let dependency = dependency.as_str();
            let allowed = !ours.contains(dependency)
                || OPEN.contains(&dependency)
                || may.contains(&dependency)
                || dependency == name
                || (*for_tests && LIBRARIES.contains(&dependency));
            let forbidden = must_not.contains(&dependency) && !for_tests;
            if !allowed || forbidden {
                found.push(Finding::new(
                    name,
                    1,
                    format!("must not depend on {dependency}"),
                ));
            }
        }
    }
    found
}

/// The workspace as cargo sees it.
pub(super) fn of_workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(source::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let packages = metadata.packages.iter().map(|package| Package {
        name: package.name.to_string(),
        depends_on: package
            .dependencies
            .iter()
            .map(|one| (one.name.clone(), one.kind == DependencyKind::Development))
            .collect(),
    });
    packages.collect()
}

#[cfg(test)]
mod tests {
    use super::{Package, breaches};

    fn package(name: &str, depends_on: &[&str]) -> Package {
        let depends_on = depends_on
            .iter()
            .map(|one| ((*one).to_owned(), false))
            .collect();
        Package {
            name: name.to_owned(),
            depends_on,
        }
    }

    fn count(packages: &[Package]) -> usize {
        breaches(packages).len()
    }

    #[test]
    fn a_service_that_imports_another_is_found() {
        let vault = package("secret-vault", &["rpc"]);
        let rpc = package("rpc", &[]);
        assert_eq!(
            count(&[package("connector-registry", &["secret-vault"]), vault, rpc]),
            1
        );
    }

    #[test]
    fn a_library_that_imports_upwards_is_found() {
        let rpc = || package("rpc", &["identity"]);
        let identity = || package("identity", &[]);
        assert_eq!(count(&[rpc(), identity()]), 0);
        assert_eq!(
            count(&[package("identity", &["rpc"]), package("rpc", &[])]),
            1
        );
        assert_eq!(
            count(&[
                package("telemetry", &["lifecycle"]),
                package("lifecycle", &[])
            ]),
            1
        );
    }

    #[test]
    fn what_must_not_be_there_at_all_is_found() {
        assert_eq!(count(&[package("envelope", &["tokio"])]), 1);
        assert_eq!(count(&[package("database", &["tonic"])]), 1);
        assert_eq!(
            count(&[package("xtask", &["names"]), package("names", &[])]),
            1
        );
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        assert_eq!(count(&[package("things", &[])]), 1);
    }
}
