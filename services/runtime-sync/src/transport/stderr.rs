//! The tail of a server's standard error: bounded in lines and bytes, control characters escaped.
//!
//! Invariant: what is kept never exceeds its two bounds, and no kept character can steer a terminal. Redaction of
//! known secret values is *not* here yet: whoever shows a line must say so.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// One line of standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StderrLine {
    /// Counts from 0 over the life of the process; gaps mean that lines were dropped.
    pub number: u64,
    /// The escaped text, cut when it was too long.
    pub text: String,
}

/// A handle to the last lines of standard error. Readable after the process has ended.
#[derive(Debug, Clone)]
pub struct StderrTail(Arc<Mutex<Ring>>);

#[derive(Debug)]
struct Ring {
    lines: VecDeque<StderrLine>,
    bytes: usize,
    next: u64,
    max_lines: usize,
    max_bytes: usize,
}

impl StderrTail {
    pub(super) fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Ring {
            lines: VecDeque::new(),
            bytes: 0,
            next: 0,
            max_lines,
            max_bytes,
        })))
    }

    /// The kept lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<StderrLine> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lines
            .iter()
            .cloned()
            .collect()
    }

    /// How many lines were printed so far, kept or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    pub(super) fn push(&self, raw: &[u8]) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One line may take a quarter of the ring, so that a single endless line cannot push all others out.
        let text = escape(raw, ring.max_bytes / 4);
        ring.bytes += text.len();
        let number = ring.next;
        ring.next += 1;
        ring.lines.push_back(StderrLine { number, text });
        while ring.lines.len() > ring.max_lines || ring.bytes > ring.max_bytes {
            let Some(oldest) = ring.lines.pop_front() else {
                break;
            };
            ring.bytes -= oldest.text.len();
        }
    }
}

fn escape(raw: &[u8], max: usize) -> String {
    // Escaping makes text longer, so the input is cut first to bound the work as well as the result.
    let text = String::from_utf8_lossy(&raw[..raw.len().min(max)]);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if out.len() + 12 > max {
            out.push('…');
            break;
        }
        match c {
            '\t' => out.push(c),
            // Bidirectional overrides and separators can disguise text as well as control characters can.
            c if c.is_control()
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
            {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_lines_within_both_bounds() {
        let tail = StderrTail::new(3, 1000);
        for n in 0..10 {
            tail.push(format!("line {n}").as_bytes());
        }
        let texts: Vec<String> = tail.lines().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["line 7", "line 8", "line 9"]);
        assert_eq!(tail.total(), 10);

        let tail = StderrTail::new(1000, 100);
        for _ in 0..100 {
            tail.push(&[b'x'; 5000]);
        }
        assert!(
            tail.lines()
                .iter()
                .map(|line| line.text.len())
                .sum::<usize>()
                <= 100
        );
        assert_eq!(tail.lines().last().map(|line| line.number), Some(99));
    }

    #[test]
    fn control_characters_cannot_reach_a_terminal() {
        let tail = StderrTail::new(10, 10_000);
        tail.push(b"\x1b[2Jhi\r\x07 \xff\xc2\x9b31m");
        let text = &tail.lines()[0].text;
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        assert!(text.contains("hi"));
    }
}
