//! The connector registry as a program of its own. Everything it does is in the library.

fn main() -> std::process::ExitCode {
    connector_registry::run()
}
