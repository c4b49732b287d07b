//! Names of span attributes of calls, in one place because OpenTelemetry still renames them.
//!
//! The RPC semantic conventions 1.40 and later (release candidate). `tracing`'s macros take them in
//! braces: `{ RPC_METHOD } = method`.

/// The RPC system; always [`RPC_SYSTEM_GRPC`] here.
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// The value of [`RPC_SYSTEM_NAME`].
pub const RPC_SYSTEM_GRPC: &str = "grpc";
/// `package.Service/Method`; [`RPC_METHOD_OTHER`] for a method we do not have.
pub const RPC_METHOD: &str = "rpc.method";
/// Stands for every method that is unknown, so that callers cannot invent span names.
pub const RPC_METHOD_OTHER: &str = "_OTHER";
/// The gRPC status as text, `DEADLINE_EXCEEDED`.
pub const RPC_STATUS_CODE: &str = "rpc.status_code";
/// What went wrong, as a low-cardinality word; set on errors only.
pub const ERROR_TYPE: &str = "error.type";
/// The host that was called.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port that was called.
pub const SERVER_PORT: &str = "server.port";

/// Tells the exporter the span's name, where `tracing` wants a literal.
pub const OTEL_NAME: &str = "otel.name";
/// `server`, `client` or `internal`.
pub const OTEL_KIND: &str = "otel.kind";
