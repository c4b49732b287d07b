//! What the vault promises, through its gRPC surface, on SQLite and PostgreSQL.
//!
//! Tests named `attack_<n>_…` are the attacks of the vault's design; they edit the database as somebody
//! would who can write it but does not hold the key.

mod attack_database;
mod attack_key_file;
mod attack_release;
mod attack_roles;
mod attack_theft;
mod harness;
mod leases;
mod secrets;
mod validation;
