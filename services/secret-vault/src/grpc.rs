//! The gRPC surface: thin handlers, exhaustive conversions, one map from errors to statuses.
//!
//! Invariant: a handler gets its message through `rpc::authorise`, converts, calls one use case, converts
//! back. No `if` on business state, no SQL, no keys. Plaintext moves from the message into a buffer that
//! wipes itself, and back only into the one answer that releases it.

mod convert;
mod handlers;
mod request;
mod status;

use contracts::vault::v1::secret_service_server::SecretServiceServer;

use crate::vault::Vault;
use handlers::Handlers;

/// The largest request: a value of 64 KiB with everything around it fits twice.
const MAX_REQUEST: usize = 128 * 1024;

/// The service, ready to be added to a server.
pub(crate) fn service(vault: Vault) -> SecretServiceServer<Handlers> {
    rpc::within_limits!(SecretServiceServer::new(Handlers::new(vault)))
        .max_decoding_message_size(MAX_REQUEST)
}
