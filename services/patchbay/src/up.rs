//! `patchbay up`: the suite in one process, on one data folder, until a signal.
//!
//! Not here: how the services are put together (`suite`), what the demonstration does (`demo::walk`).

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::cli::{Global, UpArgs};
use crate::client::print::say;
use crate::data_folder::{Addresses, DataFolder};
use crate::demo::walk;
use crate::failure::Failure;
use crate::suite::{Suite, SuiteOptions};

/// Runs the suite until SIGTERM or SIGINT.
pub(crate) async fn run(global: &Global, arguments: UpArgs, program: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    let UpArgs {
        registry_listen,
        vault_listen,
        runtime_listen,
        demo,
        servers,
        log,
    } = arguments;
    // The handlers come first: a signal during the start is a request to stop, too.
    let mut signal = pin!(lifecycle::signals()?);
    let _telemetry =
        telemetry::init(&log.options()).map_err(|error| Failure::Configuration(error.into()))?;
    let folder = DataFolder::create(&global.data_dir)?;
    let _lock = folder.lock()?;
    folder.remove_addresses()?;

    let options = SuiteOptions {
        folder: folder.clone(),
        registry_listen,
        vault_listen,
        runtime_listen,
        guard: program.to_owned(),
        servers,
    };
    let suite = tokio::select! {
        biased;
        signal = &mut signal => return say(&format!("{signal}: stopped before the start was done\n")),
        suite = Suite::start(options) => suite?,
    };
    let addresses = suite.addresses().dialled();
    folder.write_addresses(&addresses)?;
    say(&banner(&folder, &addresses, started.elapsed()))?;

    let served = tokio::select! {
        biased;
        signal = &mut signal => say(&format!("{signal}: stopping\n")),
        failure = serve(&suite, global, demo, program, &folder, &addresses) => Err(failure),
    };
    folder.remove_addresses()?;
    suite.stop().await;
    served?;
    say("stopped\n")
}

/// Serves for ever; ends only by a failure, of the demonstration or of a service.
async fn serve(
    suite: &Suite,
    global: &Global,
    demo: bool,
    program: &Path,
    folder: &DataFolder,
    addresses: &Addresses,
) -> Failure {
    let work = async {
        if demo {
            let client = suite.client(global)?;
            walk::walk(&client, program).await?;
            say(&walk::try_yourself(folder, addresses, program))?;
            say("The suite goes on serving; Ctrl-C stops it.\n")?;
        }
        Ok::<(), Failure>(())
    };
    tokio::select! {
        ended = suite.early_end() => ended,
        result = work => match result {
            Ok(()) => suite.early_end().await,
            Err(failure) => failure,
        },
    }
}

fn banner(folder: &DataFolder, addresses: &Addresses, took: Duration) -> String {
    let Addresses {
        registry,
        vault,
        runtime,
    } = addresses;
    format!(
        "patchbay {version} is ready after {took} ms\n\n  \
         connector-registry  {registry}\n  \
         secret-vault        {vault}\n  \
         runtime-sync        {runtime}\n  \
         data folder         {folder}\n  \
         tokens              {tokens}/{{caller,operator,viewer}}\n\n\
         This is the suite for one person on one machine: every scope may run programs (stdio servers) and\n\
         reach loopback and private addresses. Programs run as you, with your PATH and HOME and no other variable.\n\
         The services by themselves allow none of this unless told to.\n",
        version = env!("CARGO_PKG_VERSION"),
        took = took.as_millis(),
        folder = folder.path().display(),
        tokens = folder.path().join("tokens").display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_where_everything_is_and_what_is_allowed() {
        let folder = DataFolder::at(Path::new("/d"));
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses {
            registry: address(1),
            vault: address(2),
            runtime: address(3),
        };
        let text = banner(&folder, &addresses, Duration::from_millis(120));
        for part in [
            "127.0.0.1:1",
            "127.0.0.1:2",
            "127.0.0.1:3",
            "/d/tokens",
            "stdio",
            "loopback",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
