//! The secret vault as a program of its own. Everything it does is in the library.

fn main() -> std::process::ExitCode {
    secret_vault::run()
}
