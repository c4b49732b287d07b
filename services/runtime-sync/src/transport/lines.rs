//! Cutting a byte stream into lines of bounded length. Pure: reading is the caller's.
//!
//! Invariant: no more than the limit plus one read is ever held. What is longer than the limit is skipped up to its
//! line end; its first and last bytes are kept, so that the call it answered can be told.

use bytes::{Bytes, BytesMut};

/// How much is kept of each end of an overlong line.
const KEPT: usize = 4096;
/// How much room one read gets while there is much to read, and while there is little.
const READS: [usize; 2] = [64 << 10, 4 << 10];

/// One line without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Bytes),
    /// The line was over the limit; only its ends are left.
    Overlong {
        head: Bytes,
        tail: Bytes,
    },
}

/// A buffer that gives lines.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    scanned: usize,
    limit: usize,
    skipped: Option<Skipped>,
    /// How much the next read gets: idle servers are many, and their buffers are to be small.
    read: usize,
}

#[derive(Debug)]
struct Skipped {
    head: Bytes,
    tail: BytesMut,
    bytes: usize,
}

impl Lines {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            limit,
            skipped: None,
            read: READS[1],
        }
    }

    /// Room for the next read.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        // A buffer that was needed for more is not kept for little.
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * self.read {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(self.read);
        &mut self.buffer
    }

    /// Says how much was read, by which the next room is measured.
    pub(super) fn took(&mut self, read: usize) {
        let [much, little] = READS;
        self.read = if read >= little || self.buffer.len() > little {
            much
        } else {
            little
        };
    }

    /// The next whole line, if there is one.
    pub(super) fn next(&mut self) -> Option<Line> {
        let Some(end) = self.buffer[self.scanned..]
            .iter()
            .position(|byte| *byte == b'\n')
        else {
            self.scanned = self.buffer.len();
            if self.buffer.len() > self.limit || self.skipped.is_some() {
                self.skip();
            }
            return None;
        };
        let mut line = self.buffer.split_to(self.scanned + end + 1);
        self.scanned = 0;
        line.truncate(line.len() - 1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(self.finish(line))
    }

    /// What is left when the stream has ended without a line end.
    pub(super) fn rest(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        (!rest.is_empty() || self.skipped.is_some()).then(|| self.finish(rest))
    }

    /// How many bytes of an unfinished overlong line were thrown away so far.
    pub(super) fn skipped(&self) -> usize {
        self.skipped.as_ref().map_or(0, |skipped| skipped.bytes)
    }

    fn finish(&mut self, line: BytesMut) -> Line {
        match self.skipped.take() {
            Some(mut skipped) => {
                skipped.extend(&line);
                Line::Overlong {
                    head: skipped.head,
                    tail: skipped.tail.freeze(),
                }
            }
            None if line.len() > self.limit => {
                let mut skipped = Skipped::new(&line);
                skipped.extend(&line);
                Line::Overlong {
                    head: skipped.head,
                    tail: skipped.tail.freeze(),
                }
            }
            None => Line::Whole(line.freeze()),
        }
    }

    fn skip(&mut self) {
        let part = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        self.skipped
            .get_or_insert_with(|| Skipped::new(&part))
            .extend(&part);
    }
}

impl Skipped {
    fn new(start: &[u8]) -> Self {
        let head = Bytes::copy_from_slice(&start[..start.len().min(KEPT)]);
        Self {
            head,
            tail: BytesMut::new(),
            bytes: 0,
        }
    }

    fn extend(&mut self, part: &[u8]) {
        self.bytes = self.bytes.saturating_add(part.len());
        self.tail
            .extend_from_slice(&part[part.len().saturating_sub(KEPT)..]);
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail = self.tail.split_off(surplus);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(lines: &mut Lines, chunk: &[u8]) -> Vec<Line> {
        lines.room().extend_from_slice(chunk);
        std::iter::from_fn(|| lines.next()).collect()
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn lines_are_cut_at_every_line_end() {
        let mut lines = Lines::new(100);
        assert_eq!(feed(&mut lines, b"a\r\n\nb"), [whole("a"), whole("")]);
        assert_eq!(feed(&mut lines, b"c\n"), [whole("bc")]);
        assert_eq!(lines.rest(), None);
        assert_eq!(feed(&mut lines, b"end"), []);
        assert_eq!(lines.rest(), Some(whole("end")));
    }

    #[test]
    fn an_overlong_line_is_skipped_and_the_next_one_is_whole() {
        let mut lines = Lines::new(10);
        let mut got = feed(&mut lines, b"{\"id\":1,\"x\":");
        for _ in 0..10_000 {
            got.extend(feed(&mut lines, &[b'y'; 100]));
            assert!(lines.buffer.len() <= 10 + 100, "memory stays bounded");
        }
        assert!(lines.skipped() > 1_000_000);
        got.extend(feed(&mut lines, b"end}\nnext\n"));
        let [Line::Overlong { head, tail }, next] = got.as_slice() else {
            panic!("{got:?}")
        };
        assert!(head.starts_with(b"{\"id\":1"));
        assert!(tail.ends_with(b"yend}") && tail.len() <= KEPT);
        assert_eq!(*next, whole("next"));
        assert_eq!(lines.skipped(), 0);
    }

    proptest! {
        #[test]
        fn where_the_reads_are_cut_does_not_matter(
            text in "[ab\r\n]{0,60}", limit in 1usize..20, cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut at_once = Lines::new(limit);
            let mut expected = feed(&mut at_once, bytes);
            expected.extend(at_once.rest());

            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut pieces, mut start, mut got) = (Lines::new(limit), 0, Vec::new());
            for cut in cuts {
                got.extend(feed(&mut pieces, &bytes[start..cut]));
                start = cut;
            }
            got.extend(pieces.rest());
            let kind = |line: &Line| match line {
                Line::Whole(text) => Some(text.clone()),
                Line::Overlong { .. } => None,
            };
            // A line end of two bytes may be cut in half at the limit; what matters is that no line is lost or split.
            prop_assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(&expected) {
                if let (Some(got), Some(expected)) = (kind(got), kind(expected)) {
                    prop_assert_eq!(got, expected);
                }
            }
        }
    }
}
