//! Both ends of a call: server layer stack, client channels, rich errors, paging, deadlines.
//!
//! The invariants: every call has a deadline, every refusal says why in a form programs can read,
//! nothing is unbounded (connections, calls, streams, messages, retries), and an unknown method or
//! an unknown caller is denied.
//!
//! Not here: any service's messages, any rule about who may call what (`contracts` generates the
//! table), any business state.

mod caller;
mod deadline;
mod record;
mod server;

pub mod client;
pub mod error;
pub mod paging;

pub use caller::{Caller, authorise, caller};
pub use deadline::{Deadline, Limit};
pub use server::{
    BindError, Health, Limits, Listener, Reflection, Running, Server, ServerOptions, StartError,
};

/// The largest message either side sends or accepts: the default of every gRPC client.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Sets both message limits on a generated server or client: `within_limits!(FooServer::new(foo))`.
///
/// tonic limits what it decodes and not what it encodes; a message over 4 MiB would fail at the
/// peer, with an error that blames the peer.
#[macro_export]
macro_rules! within_limits {
    ($service:expr) => {
        $service
            .max_decoding_message_size($crate::MAX_MESSAGE_BYTES)
            .max_encoding_message_size($crate::MAX_MESSAGE_BYTES)
    };
}
