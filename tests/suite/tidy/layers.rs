//! Which module of a service may import what, and which third-party crates stay in which rooms.

use super::finding::Finding;
use super::lexer::Token;
use super::source::Source;

/// Crates that the rows speak of; every other crate is free.
const OURS: [&str; 12] = [
    "canonical_json",
    "contracts",
    "database",
    "egress",
    "envelope",
    "identity",
    "lifecycle",
    "mcp_transports",
    "migrations",
    "policy",
    "rpc",
    "telemetry",
];
const LAYERS: [&str; 8] = [
    "domain",
    "store",
    "grpc",
    "upstream",
    "session",
    "transport",
    "probe",
    "oauth",
];

/// What a layer may import of ours, what of third parties it must not, and the sibling modules closed to it.
struct Row {
    may: &'static [&'static str],
    must_not: &'static [&'static str],
    siblings: Siblings,
}

enum Siblings {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

fn row(layer: &str) -> Option<Row> {
    let row = |may, must_not, siblings| {
        Some(Row {
            may,
            must_not,
            siblings,
        })
    };
    match layer {
        "domain" => row(
            &["canonical_json", "policy"],
            &[
                "tonic",
                "prost",
                "prost_types",
                "contracts",
                "sea_orm",
                "rmcp",
                "tokio",
            ],
            Siblings::Only(&["domain"]),
        ),
        "store" => row(
            &["database"],
            &["tonic", "contracts", "rmcp"],
            Siblings::Only(&["domain", "store"]),
        ),
        "grpc" => row(
            &["contracts", "rpc", "identity", "lifecycle", "policy"],
            &["sea_orm", "rmcp"],
            Siblings::AllBut(&["store"]),
        ),
        "upstream" => row(
            &["contracts", "rpc", "lifecycle", "policy"],
            &["sea_orm", "rmcp"],
            Siblings::Only(&["domain", "upstream"]),
        ),
        "session" | "transport" | "probe" | "oauth" => row(
            &[
                "mcp_transports",
                "egress",
                "policy",
                "lifecycle",
                "telemetry",
            ],
            &["sea_orm", "contracts"],
            Siblings::AllBut(&["grpc", "upstream", "supervisor", "store"]),
        ),
        _ => None,
    }
}

/// Third-party crates that live in a few rooms only: the crate, and the beginnings of the paths that know it.
const ROOMS: [(&str, &[&str]); 2] = [
    (
        "sea_orm",
        &[
            "crates/database/",
            "migrations/",
            "tests/",
            "services/connector-registry/src/store",
            "services/connector-registry/tests/",
            "services/secret-vault/src/store",
            "services/secret-vault/tests/",
        ],
    ),
    (
        "rmcp",
        &[
            "crates/mcp-transports/",
            "tests/",
            "services/patchbay/src/bench",
            "services/patchbay/src/demo",
            "services/patchbay/tests/",
            "services/runtime-sync/src/session",
            "services/runtime-sync/src/transport",
            "services/runtime-sync/src/probe",
            "services/runtime-sync/src/oauth",
            "services/runtime-sync/tests/",
        ],
    ),
];

/// Every import that the table does not allow.
pub(super) fn breaches(source: &Source) -> Vec<Finding> {
    let imports = imports(&source.tokens());
    let mut found = Vec::new();
    for (name, rooms) in ROOMS {
        // A test may look at what is really in the database, or speak as a server.
        if source.is_test() || rooms.iter().any(|room| source.path.starts_with(room)) {
            continue;
        }
        for import in imports.iter().filter(|import| import.first == name) {
            found.push(Finding::new(
                &source.path,
                import.line,
                format!("`{name}` is not known here"),
            ));
        }
    }
    let Some((depth, layer)) = place(&source.path) else {
        return found;
    };
    let Some(Row {
        may,
        must_not,
        siblings,
    }) = row(layer)
    else {
        return found;
    };
    for import in &imports {
        let first = import.first.as_str();
        let strange = OURS.contains(&first) && !may.contains(&first) && !source.is_test();
        let barred = must_not.contains(&first) || strange;
        let sibling = import.sibling(depth).filter(|sibling| match &siblings {
            Siblings::Only(open) => LAYERS.contains(sibling) && !open.contains(sibling),
            Siblings::AllBut(closed) => closed.contains(sibling),
        });
        if barred || sibling.is_some() {
            let what = sibling.unwrap_or(first);
            let says = format!("`{layer}` must not import `{what}`");
            found.push(Finding::new(&source.path, import.line, says));
        }
    }
    found
}

/// How deep a module lies under its service's root, and in which layer.
fn place(path: &str) -> Option<(usize, &str)> {
    let inside = path.strip_prefix("services/")?.split_once("/src/")?.1;
    let module = inside.strip_suffix(".rs")?;
    Some((module.split('/').count(), module.split('/').next()?))
}

/// A path in the code: its first word, the word after `crate::` or `super::…`, and how many `super`s.
struct Import {
    line: usize,
    first: String,
    next: String,
    supers: usize,
}

impl Import {
    /// The top-level module that a path of this crate leads to.
    fn sibling(&self, depth: usize) -> Option<&str> {
        let from_root = self.first == "crate" || (self.first == "super" && self.supers >= depth);
        from_root.then_some(self.next.as_str())
    }
}

/// Every place where a path begins. In a group (`use crate::{a, b}`) each branch is an import of its own.
fn imports(code: &[Token]) -> Vec<Import> {
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let begins = at == 0 || !code[at - 1].is("::");
        let followed = code.get(at + 1).is_some_and(|next| next.is("::"));
        if !begins || !followed {
            continue;
        }
        let mut end = at;
        let mut supers = usize::from(token.is("super"));
        while code.get(end + 2).is_some_and(|next| next.is("super")) && code[end + 1].is("::") {
            (end, supers) = (end + 2, supers + 1);
        }
        for next in branches(&code[end + 2..]) {
            let import = Import {
                line: token.line,
                first: token.text.clone(),
                next,
                supers,
            };
            found.push(import);
        }
    }
    found
}

/// The word that follows, or the first words of each branch of the group that follows.
fn branches(code: &[Token]) -> Vec<String> {
    let Some(first) = code.first() else {
        return Vec::new();
    };
    if !first.is("{") {
        return vec![first.text.clone()];
    }
    let mut depth = 0_usize;
    let mut words = Vec::new();
    let mut expected = false;
    for token in code {
        match token.text.as_str() {
            "{" => (depth, expected) = (depth + 1, depth == 0),
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => expected = depth == 1,
            word if expected => {
                words.push(word.to_owned());
                expected = false;
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::breaches;
    use crate::tidy::source::Source;

    fn count(path: &str, text: &str) -> usize {
        breaches(&Source::sample(path, text)).len()
    }

    const DOMAIN: &str = "services/connector-registry/src/domain/connector.rs";
    const STORE: &str = "services/connector-registry/src/store/rows.rs";
    const GRPC: &str = "services/connector-registry/src/grpc/connectors.rs";
    const UPSTREAM: &str = "services/runtime-sync/src/upstream.rs";
    const SESSION: &str = "services/runtime-sync/src/session/actor.rs";

    #[test]
    fn the_domain_knows_no_protocol_and_no_database() {
        for name in [
            "tonic",
            "prost",
            "contracts",
            "sea_orm",
            "rmcp",
            "tokio",
            "rpc",
            "database",
        ] {
            assert!(count(DOMAIN, &format!("use {name}::Thing;")) > 0, "{name}");
        }
        assert_eq!(
            count(
                DOMAIN,
                "use policy::Policy; use names::ScopeName; use serde::Serialize;"
            ),
            0
        );
        assert_eq!(count(DOMAIN, "fn f() { tonic::Status::ok() }"), 1);
    }

    #[test]
    fn a_layer_does_not_reach_over_its_neighbour() {
        assert_eq!(count(DOMAIN, "use crate::store::Row;"), 1);
        assert_eq!(count(DOMAIN, "use crate::{domain::A, store::B};"), 1);
        assert_eq!(count(DOMAIN, "use super::super::store::Row;"), 1);
        assert_eq!(count(STORE, "use crate::grpc::Handler;"), 1);
        assert_eq!(
            count(STORE, "use crate::domain::Connector; use super::Store;"),
            0
        );
        assert_eq!(count(GRPC, "use crate::store::Store;"), 1);
        assert_eq!(count(GRPC, "use crate::connectors::Connectors;"), 0);
        assert_eq!(count(SESSION, "use crate::grpc::Status;"), 1);
    }

    #[test]
    fn each_layer_has_its_own_crates() {
        assert_eq!(count(STORE, "use contracts::registry::v1::X;"), 1);
        assert_eq!(count(GRPC, "use database::Database;"), 1);
        assert_eq!(count(UPSTREAM, "use rmcp::model::Tool;"), 2);
        assert_eq!(count(SESSION, "use contracts::runtime::v1::X;"), 1);
    }

    #[test]
    fn a_third_party_crate_stays_in_its_rooms() {
        assert_eq!(
            count("services/secret-vault/src/vault.rs", "use sea_orm::Value;"),
            1
        );
        assert_eq!(count("crates/rpc/src/lib.rs", "use rmcp::model::Tool;"), 1);
        assert_eq!(count("tests/suite/x.rs", "use rmcp::model::Tool;"), 0);
    }
}
