//! The two signals that ask a process to stop: SIGTERM and SIGINT.
//!
//! Handlers are installed when [`signals`] returns, not when its future is first polled, so a
//! signal that arrives during start-up is not lost. What stopping means is the caller's matter.

use std::{fmt, future::Future, io};

use tokio::signal::unix::{SignalKind, signal};

/// The signal that asked for the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: a service manager or container runtime asks.
    Terminate,
    /// SIGINT: a person pressed Ctrl-C.
    Interrupt,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// Installs the handlers and gives a future that completes at the first SIGTERM or SIGINT.
///
/// The default action of both signals is gone once this returned: a process that stops awaiting
/// the future can be ended by SIGKILL only.
///
/// # Errors
/// When the operating system refuses a handler.
pub fn signals() -> io::Result<impl Future<Output = Signal> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(signal: &str) {
        let process = std::process::id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &process])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    #[tokio::test]
    async fn a_signal_that_comes_before_anybody_waits_is_heard_and_the_process_lives() {
        for (name, expected) in [("TERM", Signal::Terminate), ("INT", Signal::Interrupt)] {
            let signals = signals().expect("handlers");
            send(name);
            assert_eq!(signals.await, expected);
        }
    }
}
