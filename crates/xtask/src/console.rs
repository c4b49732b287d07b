//! The one place of this crate that writes to the terminal. Everything goes to standard error, so
//! that a command's own standard output stays its own.
#![expect(clippy::print_stderr, reason = "this program talks to a person")]

use std::time::Duration;

/// Writes one line.
pub(crate) fn line(text: &str) {
    eprintln!("{text}");
}

/// Announces a step.
pub(crate) fn step(name: &str) {
    eprintln!("\n=== {name}");
}

/// `1 min 23 s`, or `4.2 s` below a minute.
pub(crate) fn took(time: Duration) -> String {
    if time.as_secs() < 60 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::took;

    #[test]
    fn a_duration_reads_as_a_person_says_it() {
        assert_eq!(took(Duration::from_millis(4_240)), "4.2 s");
        assert_eq!(took(Duration::from_secs(83)), "1 min 23 s");
    }
}
