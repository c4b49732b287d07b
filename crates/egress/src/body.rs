//! Reading bodies that a peer controls.
//!
//! Invariant: no more than `cap` bytes are ever held, and no chunk is waited for longer than `idle`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::Error;

/// Reads a whole body.
///
/// # Errors
/// [`Error::TooLarge`] as soon as the cap is passed (or announced to be), [`Error::Timeout`] when the peer is silent
/// for `idle`, else what broke the connection.
pub async fn read_capped(
    mut response: reqwest::Response,
    cap: usize,
    idle: Duration,
) -> Result<Bytes, Error> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).map_or(true, |length| length > cap) {
        return Err(Error::TooLarge);
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = tokio::time::timeout(idle, response.chunk())
            .await
            .map_err(|_| Error::Timeout)??;
        let Some(chunk) = chunk else {
            return Ok(body.freeze());
        };
        if body.len() + chunk.len() > cap {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
}
