//! Server-sent events, parsed as the WHATWG standard says. Pure: reading is the caller's.
//!
//! Invariant: no more than the limit plus one read is ever held, whether the server sends one endless line or one
//! endless event.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest wait that a server may ask for before a stream is resumed.
const MAX_RETRY: Duration = Duration::from_secs(30);
/// The shortest one, so that a server cannot have itself asked without a pause.
const MIN_RETRY: Duration = Duration::from_millis(100);
/// Ids are sent back in a header; longer ones are no ids.
const MAX_ID: usize = 1024;

/// The stream holds more than its limit for one event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Gives the data of each event.
#[derive(Debug)]
pub(super) struct Events {
    buffer: BytesMut,
    scanned: usize,
    limit: usize,
    after_cr: bool,
    begun: bool,
    data: Option<BytesMut>,
    id: Option<String>,
    /// The last id that a whole event carried: where to resume.
    pub(super) last_id: Option<String>,
    /// How long the server asks to wait before resuming.
    pub(super) retry: Option<Duration>,
}

impl Events {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            limit,
            after_cr: false,
            begun: false,
            data: None,
            id: None,
            last_id: None,
            retry: None,
        }
    }

    /// The beginning of the event that is being read: of its data, whether or not its line has ended.
    pub(super) fn beginning(&self) -> &[u8] {
        match &self.data {
            Some(data) => data,
            None => self.buffer.strip_prefix(b"data:").unwrap_or_default(),
        }
    }

    /// Takes what was read.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The data of the next whole event; comments and events without data are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLarge> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                self.last_id.clone_from(&self.id);
                if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
                    return Ok(Some(data.freeze()));
                }
            } else {
                self.field(line);
            }
            if self
                .data
                .as_ref()
                .is_some_and(|data| data.len() > self.limit)
            {
                return Err(TooLarge);
            }
        }
        let held = self.buffer.len() + self.data.as_ref().map_or(0, BytesMut::len);
        if held > self.limit {
            Err(TooLarge)
        } else {
            Ok(None)
        }
    }

    /// The next line without its end, which is CR, LF or both.
    fn line(&mut self) -> Option<BytesMut> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        let found = self.buffer[self.scanned..]
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(end) = found.map(|at| at + self.scanned) else {
            self.scanned = self.buffer.len();
            return None;
        };
        self.after_cr = self.buffer[end] == b'\r';
        let mut line = self.buffer.split_to(end);
        self.buffer.advance(1);
        self.scanned = 0;
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.advance(3);
        }
        Some(line)
    }

    fn field(&mut self, mut line: BytesMut) {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let name = line.split_to(colon);
        let skip = if line.starts_with(b": ") {
            2
        } else {
            usize::from(!line.is_empty())
        };
        line.advance(skip);
        match &name[..] {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.extend_from_slice(b"\n");
                    data.extend_from_slice(&line);
                }
                None => self.data = Some(line),
            },
            b"id" => {
                if let Ok(id) = std::str::from_utf8(&line)
                    && !id.contains('\0')
                    && id.len() <= MAX_ID
                {
                    self.id = (!id.is_empty()).then(|| id.to_owned());
                }
            }
            b"retry" if !line.is_empty() && line.iter().all(u8::is_ascii_digit) => {
                let wanted = std::str::from_utf8(&line)
                    .ok()
                    .and_then(|digits| digits.parse().ok());
                self.retry = Some(
                    wanted
                        .map_or(MAX_RETRY, Duration::from_millis)
                        .clamp(MIN_RETRY, MAX_RETRY),
                );
            }
            // Comments, event types (MCP uses none) and unknown fields.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(events: &mut Events, text: &[u8]) -> Vec<String> {
        events.feed(text);
        let mut got = Vec::new();
        while let Ok(Some(data)) = events.next() {
            got.push(String::from_utf8_lossy(&data).into_owned());
        }
        got
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let mut events = Events::new(1000);
        let text = b"\xef\xbb\xbf: hi\r\nevent: message\r\nid: 1\r\ndata: {\"a\":1}\r\n\r\ndata:x\rdata:  y\r\rdata\n\nretry: 500\nid: 2\ndata: \n\n";
        assert_eq!(all(&mut events, text), ["{\"a\":1}", "x\n y"]);
        assert_eq!(
            events.last_id.as_deref(),
            Some("2"),
            "a priming event without data sets the id"
        );
        assert_eq!(events.retry, Some(Duration::from_millis(500)));
    }

    #[test]
    fn an_unfinished_event_is_none_and_its_id_does_not_count() {
        let mut events = Events::new(1000);
        assert_eq!(
            all(&mut events, b"id: 1\ndata: x\n\nid: 2\ndata: y\n"),
            ["x"]
        );
        assert_eq!(events.last_id.as_deref(), Some("1"));
    }

    #[test]
    fn a_wait_is_capped_and_nonsense_ignored() {
        let mut events = Events::new(1000);
        all(&mut events, b"retry: soon\n\n");
        assert_eq!(events.retry, None);
        all(&mut events, b"retry: 99999999999999999999999\n\n");
        assert_eq!(events.retry, Some(MAX_RETRY));
        all(&mut events, b"retry: 0\n\n");
        assert_eq!(events.retry, Some(MIN_RETRY));
        all(&mut events, b"id: a\0b\n\n");
        assert_eq!(events.last_id, None);
    }

    #[test]
    fn neither_an_endless_line_nor_an_endless_event_is_kept() {
        let mut line = Events::new(100);
        line.feed(&[b'x'; 101]);
        assert_eq!(line.next(), Err(TooLarge));
        let mut event = Events::new(100);
        for _ in 0..30 {
            event.feed(b"data: x\n");
        }
        assert!(event.next().is_ok_and(|data| data.is_none()));
        for _ in 0..30 {
            event.feed(b"data: x\n");
        }
        assert_eq!(event.next(), Err(TooLarge));
        let mut comments = Events::new(100);
        for _ in 0..1000 {
            comments.feed(b": still here\n");
            assert_eq!(comments.next(), Ok(None), "comments cost nothing");
        }
    }

    proptest! {
        #[test]
        fn where_the_reads_are_cut_does_not_matter(
            text in "(data: ?[a:]{0,3}|id: ?[0-9]|: ?c|retry: ?[0-9x]|)(\n|\r|\r\n)".prop_flat_map(|first| {
                proptest::collection::vec("(data: ?[a:]{0,3}|id: ?[0-9]|:c|\u{e9}|)(\n|\r|\r\n)", 0..12)
                    .prop_map(move |rest| first.clone() + &rest.concat())
            }),
            cuts in proptest::collection::vec(0usize..100, 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut whole = Events::new(1000);
            let expected = all(&mut whole, bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut pieces, mut start, mut got) = (Events::new(1000), 0, Vec::new());
            for cut in cuts {
                got.extend(all(&mut pieces, &bytes[start..cut]));
                start = cut;
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(pieces.last_id, whole.last_id);
        }
    }
}
