//! What the service and the guard say to each other on the control socket.
//!
//! Service to guard: four bytes of length that carry the server's three standard streams as file descriptors, the
//! request as JSON, then single [`Order`] bytes. Guard to service: one [`Report`] per line, as JSON. Commands,
//! arguments and environment travel here and never stand on the guard's command line or in its environment.

use std::{
    borrow::Cow,
    fmt, io,
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// The largest request: the kernel takes about 2 MiB of arguments and environment.
const MAX_REQUEST: usize = 8 << 20;

/// What to run and how.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    pub(crate) command: Cow<'a, str>,
    pub(crate) args: Vec<Cow<'a, str>>,
    pub(crate) env: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(crate) cwd: PathBuf,
    pub(crate) limits: ProcessLimits,
    pub(crate) graces: Graces,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// Resource limits of the server and all its descendants.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ProcessLimits {
    pub(crate) open_files: u64,
}

/// How long the server may take to end after end of file, and after SIGTERM.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Graces {
    pub(crate) eof: Duration,
    pub(crate) term: Duration,
}

/// What the service may order. The end of the socket means [`Order::Stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The server's input was closed: wait, SIGTERM, wait, SIGKILL.
    Stop,
    /// SIGKILL at once.
    Kill,
}

impl Order {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Stop => b's',
            Self::Kill => b'k',
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b's' => Some(Self::Stop),
            b'k' => Some(Self::Kill),
            _ => None,
        }
    }
}

/// What the guard tells the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The server runs, as leader of a process group of its own.
    Started {
        /// Its process id.
        pid: i32,
    },
    /// The server could not be started.
    Failed(StartFailure),
    /// The server itself ended; descendants may still be about to be killed.
    Exited {
        /// Exit code, when it exited.
        code: Option<i32>,
        /// Signal number, when it was killed.
        signal: Option<i32>,
    },
}

/// Why a server could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StartFailure {
    /// No such program.
    NotFound,
    /// There is a file, but it may not be executed or is no program.
    NotExecutable,
    /// The working directory does not exist or may not be entered.
    NoDirectory,
    /// Too many processes or too little memory, or arguments too long.
    NoResources,
}

/// The server's standard input, output and error.
#[derive(Debug)]
pub(crate) struct Streams(pub(crate) [OwnedFd; 3]);

/// The frame that begins a request: its length, sent together with the streams.
pub(crate) fn send_head(
    control: &UnixStream,
    length: usize,
    streams: [BorrowedFd<'_>; 3],
) -> io::Result<()> {
    let head = u32::try_from(length)
        .map_err(|_| io::ErrorKind::InvalidInput)?
        .to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&streams)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        control,
        &[IoSlice::new(&head)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    // A new socket has room for four bytes; anything else would tear the frame.
    if sent == head.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// The guard's side of [`send_head`] and of the request's bytes.
pub(crate) fn receive_request(mut control: &UnixStream) -> io::Result<(Request<'static>, Streams)> {
    let mut head = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        control,
        &mut [IoSliceMut::new(&mut head)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut streams: Vec<OwnedFd> = Vec::with_capacity(3);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            streams.extend(descriptors);
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    control.read_exact(&mut head[received.bytes..])?;
    let length =
        usize::try_from(u32::from_le_bytes(head)).map_err(|_| io::ErrorKind::InvalidData)?;
    if length > MAX_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    control.read_exact(&mut body)?;
    let body = sensitive::Bytes::new(body);
    let request = serde_json::from_slice(body.expose())?;
    let streams = <[OwnedFd; 3]>::try_from(streams).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((request, Streams(streams)))
}

/// Writes one report.
pub(crate) fn send_report(mut control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}
