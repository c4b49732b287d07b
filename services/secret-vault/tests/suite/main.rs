//! What the vault promises, through its gRPC surface, on SQLite and PostgreSQL.
//!
//! Tests named `attack_<n>_…` are the attacks of the vault's design; they edit the database as somebody
//! would who can write it but does not hold the key.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attack_database;
mod attack_key_file;
mod attack_release;
mod attack_roles;
mod attack_theft;
mod harness;
mod leases;
mod program;
mod secrets;
mod validation;
mod versions;
