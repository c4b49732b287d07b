//! The gRPC face of the runtime: authorise, convert, call, convert.
//!
//! Handlers hold no state and decide nothing; `status` is the only place that makes a status. Sessions are found
//! through `supervisor::Sessions`, calls are made by `calls`.

mod convert;
mod session;
mod status;
mod tool;
mod watch;

use contracts::runtime::v1::{
    session_service_server::SessionServiceServer, tool_service_server::ToolServiceServer,
};

pub(crate) use self::{session::SessionHandlers, tool::ToolHandlers, watch::WatchOptions};

/// Puts the services on a server.
pub(crate) fn services(
    server: rpc::Server,
    tools: ToolHandlers,
    sessions: SessionHandlers,
) -> rpc::Server {
    server
        .add(rpc::within_limits!(ToolServiceServer::new(tools)))
        .add(rpc::within_limits!(SessionServiceServer::new(sessions)))
}
