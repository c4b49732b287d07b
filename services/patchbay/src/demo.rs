//! The demonstration: a bundled MCP server, and a walk through what the suite does with it.

pub(crate) mod server;
pub(crate) mod walk;

use sensitive::Text;
use tokio::net::TcpListener;

use crate::cli::DemoServerArgs;
use crate::client::print::say;
use crate::failure::Failure;

/// Runs the bundled server: over standard input and output until its client goes away, or over HTTP until a
/// signal.
pub(crate) async fn serve(arguments: DemoServerArgs) -> Result<(), Failure> {
    let DemoServerArgs { secret, listen } = arguments;
    match listen {
        None => server::serve_stdio(secret.map(Text::new)).await?,
        Some(address) => {
            let stop = lifecycle::signals()?;
            let listener = TcpListener::bind(address).await?;
            say(&format!("{}\n", server::http_url(listener.local_addr()?)))?;
            server::serve_http(listener, async {
                stop.await;
            })
            .await?;
        }
    }
    Ok(())
}
