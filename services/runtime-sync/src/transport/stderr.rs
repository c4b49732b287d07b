//! The tail of a server's standard error: bounded in lines and bytes, redacted, control characters escaped.
//!
//! Invariant: what is kept never exceeds its two bounds, holds no value that we gave the server in its environment
//! (but for the shortest), and no kept character can steer a terminal. Secrets that the server has from elsewhere
//! cannot be known here.

use std::{
    borrow::Cow,
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
    secrets: Secrets,
}

impl StderrTail {
    pub(super) fn new(max_lines: usize, max_bytes: usize, secrets: Secrets) -> Self {
        Self(Arc::new(Mutex::new(Ring {
            lines: VecDeque::new(),
            bytes: 0,
            next: 0,
            max_lines,
            max_bytes,
            secrets,
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

    /// Takes one line; `cut` says that its end is missing.
    pub(super) fn push(&self, raw: &[u8], cut: Cut) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let redacted = ring.secrets.redact(raw, cut);
        // One line may take a quarter of the ring, so that a single endless line cannot push all others out.
        let text = escape(&redacted, ring.max_bytes / 4);
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

/// Whether a line is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Whole,
    Short,
}

/// What must not be kept: every line of every value in the server's own environment.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Longest first, so that a secret inside another does not save the rest of it.
    values: Vec<sensitive::Text>,
}

/// Shorter values are no secrets, and would tear holes into every word.
const SHORTEST: usize = 6;
const REDACTED: &[u8] = b"[redacted]";

impl Secrets {
    pub(super) fn of_environment(env: &[(String, sensitive::Text)]) -> Self {
        let lines = env.iter().flat_map(|(_, value)| value.expose().lines());
        let mut values: Vec<sensitive::Text> = lines
            .map(str::trim)
            .filter(|line| line.len() >= SHORTEST)
            .map(|line| sensitive::Text::new(line.to_owned()))
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.expose().len()));
        Self { values }
    }

    fn redact<'a>(&self, raw: &'a [u8], cut: Cut) -> Cow<'a, [u8]> {
        let mut text = Cow::Borrowed(raw);
        for value in &self.values {
            let value = value.expose().as_bytes();
            let Some(mut at) = find(&text, value) else {
                continue;
            };
            let mut clean = Vec::with_capacity(text.len());
            let mut rest: &[u8] = &text;
            loop {
                clean.extend_from_slice(&rest[..at]);
                clean.extend_from_slice(REDACTED);
                rest = &rest[at + value.len()..];
                match find(rest, value) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            clean.extend_from_slice(rest);
            text = Cow::Owned(clean);
        }
        match (cut, self.values.first()) {
            // The beginning of a secret may stand at the end of what was cut.
            (Cut::Short, Some(longest)) => {
                let keep = text.len().saturating_sub(longest.expose().len());
                Cow::Owned(text[..keep].to_vec())
            }
            (Cut::Short | Cut::Whole, _) => text,
        }
    }
}

fn find(text: &[u8], value: &[u8]) -> Option<usize> {
    text.windows(value.len()).position(|window| window == value)
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

    fn tail(lines: usize, bytes: usize) -> StderrTail {
        StderrTail::new(lines, bytes, Secrets::default())
    }

    fn texts(tail: &StderrTail) -> Vec<String> {
        tail.lines().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn keeps_the_newest_lines_within_both_bounds() {
        let few = tail(3, 1000);
        for n in 0..10 {
            few.push(format!("line {n}").as_bytes(), Cut::Whole);
        }
        assert_eq!(texts(&few), ["line 7", "line 8", "line 9"]);
        assert_eq!(few.total(), 10);

        let small = tail(1000, 100);
        for _ in 0..100 {
            small.push(&[b'x'; 5000], Cut::Whole);
        }
        assert!(texts(&small).iter().map(String::len).sum::<usize>() <= 100);
        assert_eq!(small.lines().last().map(|line| line.number), Some(99));
    }

    #[test]
    fn control_characters_cannot_reach_a_terminal() {
        let tail = tail(10, 10_000);
        tail.push(b"\x1b[2Jhi\r\x07 \xff\xc2\x9b31m", Cut::Whole);
        let text = &texts(&tail)[0];
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        assert!(text.contains("hi"));
    }

    #[test]
    fn values_of_the_servers_environment_are_not_kept() {
        let value = |text: &str| sensitive::Text::new(text.to_owned());
        let env = [
            ("A".to_owned(), value("hunter22")),
            ("B".to_owned(), value("hunter22-and-more")),
            ("C".to_owned(), value("-----BEGIN\nMIIEvQIBADAN\n-----END")),
            ("D".to_owned(), value("on")),
        ];
        let tail = StderrTail::new(10, 10_000, Secrets::of_environment(&env));
        tail.push(
            b"key=hunter22, again hunter22; long hunter22-and-more, on",
            Cut::Whole,
        );
        tail.push(b"MIIEvQIBADAN", Cut::Whole);
        tail.push(b"a long line that ends in hunter22-and", Cut::Short);
        assert_eq!(
            texts(&tail),
            [
                "key=[redacted], again [redacted]; long [redacted], on",
                "[redacted]",
                "a long line that ends "
            ]
        );
    }
}
