//! Everything that is wrong with a configuration, reported at once.

use std::fmt;

/// What is wrong with the settings, each in a line of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Nothing wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a setting, or `None` and one problem more.
    pub fn note<T>(&mut self, setting: &str, value: Result<T, impl fmt::Display>) -> Option<T> {
        value
            .map_err(|problem| self.add(format!("--{setting}: {problem}")))
            .ok()
    }

    /// Adds a problem.
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// An error if there is any problem.
    ///
    /// # Errors
    /// The problems themselves.
    pub fn check(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|problem| writeln!(f, "error: {problem}"))
    }
}

impl std::error::Error for Problems {}

/// Reads a number within bounds.
///
/// # Errors
/// What the number must be.
pub fn within(text: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!("must be a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_together() {
        let mut problems = Problems::new();
        assert_eq!(problems.note("listen", "7401".parse::<u16>()), Some(7401));
        assert_eq!(problems.note("quota", within("0", 1, 9)), None);
        assert_eq!(problems.note::<()>("tokens-file", Err("is required")), None);
        let told = problems.check().expect_err("two problems").to_string();
        assert_eq!(
            told,
            "error: --quota: must be a number from 1 to 9\nerror: --tokens-file: is required\n"
        );
        assert_eq!(Problems::new().check(), Ok(()));
    }

    #[test]
    fn a_number_keeps_its_bounds() {
        assert_eq!((within("1", 1, 9), within("9", 1, 9)), (Ok(1), Ok(9)));
        for text in ["0", "10", "-1", "", "one"] {
            assert!(within(text, 1, 9).is_err(), "{text}");
        }
    }
}
