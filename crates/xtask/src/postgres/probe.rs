//! Whether a PostgreSQL server lets us in. Speaks just enough of its protocol to be told yes or no.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

const PATIENCE: Duration = Duration::from_secs(2);
/// Version 3.0 of the protocol.
const PROTOCOL: u32 = 196_608;

/// True only where user `postgres` needs no password: a server that asks for one is somebody else's.
pub(crate) fn lets_us_in(port: u16) -> bool {
    ask(port).is_ok_and(|answer| answer == accepted())
}

/// A port that was free a moment ago. Another process may take it first; the start then fails and says so.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

fn ask(port: u16) -> std::io::Result<[u8; 9]> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&startup_message())?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Length, protocol version, then name-value pairs, each ended by a zero byte.
fn startup_message() -> Vec<u8> {
    let pairs = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(pairs.len() + 8).unwrap_or(u32::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend(PROTOCOL.to_be_bytes());
    message.extend(pairs);
    message
}

/// AuthenticationOk: `R`, a length of eight, a code of zero.
fn accepted() -> [u8; 9] {
    [b'R', 0, 0, 0, 8, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::{accepted, lets_us_in, startup_message};

    fn server(answer: [u8; 9]) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; startup_message().len()];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&answer).unwrap();
        });
        port
    }

    #[test]
    fn a_server_that_accepts_us_is_used() {
        assert!(lets_us_in(server(accepted())));
    }

    #[test]
    fn a_server_that_wants_a_password_is_left_alone() {
        assert!(!lets_us_in(server([b'R', 0, 0, 0, 23, 0, 0, 0, 10])));
    }

    #[test]
    fn nothing_listening_is_no_server() {
        let port = super::free_port().unwrap();
        assert!(!lets_us_in(port));
    }
}
