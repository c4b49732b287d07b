//! Listening to the guard: how the server ended, and that the guard itself is gone.
//!
//! Invariant: a link whose process has ended ends with that cause, after what the server printed last was read.

use std::{sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::BufReader, net::unix::OwnedReadHalf, process::Child, sync::oneshot, time::timeout,
};

use super::{Shared, process::next_report};
use crate::{stdio_guard::protocol::Report, transport::error::LinkEnd};

/// How long the last output may take to be read after the exit was reported, and the report after the last output.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs until the guard is gone.
pub(super) async fn run(
    mut guard: Child,
    mut reports: BufReader<OwnedReadHalf>,
    pid: i32,
    shared: Arc<Shared>,
    mut drained: oneshot::Receiver<()>,
    gone: oneshot::Sender<()>,
) {
    let first = {
        let report = next_report(&mut reports);
        tokio::pin!(report);
        tokio::select! {
            report = &mut report => {
                // A grandchild may hold the output open, so this is not waited for without end.
                let _read = timeout(SETTLE, &mut drained).await;
                report
            }
            _ = &mut drained => match timeout(SETTLE, &mut report).await {
                Ok(report) => report,
                Err(_) => {
                    shared.end(LinkEnd::OutputClosed);
                    report.await
                }
            },
        }
    };
    // The server's end is all that a guard reports of a running server.
    let exited = match first {
        Ok(Some(Report::Exited { code, signal })) => {
            shared.end(LinkEnd::ProcessExited { code, signal });
            while let Ok(Some(_)) = next_report(&mut reports).await {}
            true
        }
        Ok(Some(Report::Started { .. } | Report::Failed(_)) | None) | Err(_) => false,
    };
    if !exited {
        // Somebody killed the guard. Its server is nobody's child now; its group is all we know of it.
        if let Some(pid) = Pid::from_raw(pid) {
            let _gone = kill_process_group(pid, Signal::KILL);
        }
        shared.end(LinkEnd::GuardLost);
    }
    if let Err(error) = guard.wait().await {
        tracing::warn!(%error, "the guard of a server could not be waited for");
    }
    // Nobody waits when the link was dropped.
    let _nobody = gone.send(());
}
