//! Links against real processes and sockets that behave as badly as servers do.

mod guard;
mod http_bounds;
mod http_calls;
mod http_messages;
mod http_server;
mod http_statuses;
mod stdio_bounds;
mod stdio_calls;
mod support;
