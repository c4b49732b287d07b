//! The runtime-sync service as a program of its own. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the guard of a stdio server is this program again, and must stay single-threaded.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == "stdio-guard")
    {
        return runtime_sync::stdio_guard::main();
    }
    runtime_sync::run()
}
