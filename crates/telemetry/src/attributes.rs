//! Names of span attributes, all in one place because OpenTelemetry still renames them.
//!
//! RPC: semantic conventions 1.40 and later (release candidate). MCP: semantic-conventions-genai
//! (development). Use the constants with `Span::record` and `set_attribute`; in `tracing` macros,
//! which need literals, repeat the text and nothing else.

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

/// `tools/call`.
pub const MCP_METHOD_NAME: &str = "mcp.method.name";
/// The MCP protocol session.
pub const MCP_SESSION_ID: &str = "mcp.session.id";
/// `2025-11-25`.
pub const MCP_PROTOCOL_VERSION: &str = "mcp.protocol.version";
/// The tool that is called.
pub const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
/// `execute_tool` for a tool call.
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// The id of the JSON-RPC request.
pub const JSONRPC_REQUEST_ID: &str = "jsonrpc.request.id";

/// Tells the exporter the span's name, where `tracing` wants a literal.
pub const OTEL_NAME: &str = "otel.name";
/// `server`, `client` or `internal`.
pub const OTEL_KIND: &str = "otel.kind";
