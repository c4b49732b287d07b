//! What is wrong with a request, field by field. All findings of one request are collected and told together; none of
//! the texts holds a value the caller sent, since it might be a secret.

use std::fmt;

/// One field that does not hold what it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field in the request message, `connector.stdio.env[2].name`.
    pub field: String,
    /// What the field must hold, as a sentence.
    pub description: String,
}

/// A non-empty set of findings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request has {} invalid fields", .0.len())]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// One finding.
    pub fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self(vec![Violation {
            field: field.into(),
            description: description.into(),
        }])
    }

    /// The findings, at least one.
    #[must_use]
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }

    /// The findings, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }
}

/// Collects findings while a request is read, under the path of the part being read.
#[derive(Debug)]
pub struct Findings {
    path: String,
    found: Vec<Violation>,
}

impl Findings {
    /// No findings yet; paths start with `root`.
    #[must_use]
    pub fn under(root: &str) -> Self {
        Self {
            path: root.to_owned(),
            found: Vec::new(),
        }
    }

    /// Notes that `field` of the current part is wrong.
    pub fn add(&mut self, field: &str, description: impl Into<String>) {
        let field = join(&self.path, field);
        self.found.push(Violation {
            field,
            description: description.into(),
        });
    }

    /// Runs `read` with `part` appended to the path.
    pub fn within<T>(&mut self, part: impl fmt::Display, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.path.clone();
        self.path = join(&outer, &part.to_string());
        let result = read(self);
        self.path = outer;
        result
    }

    /// `value`, unless anything was found.
    ///
    /// # Errors
    /// Everything that was found.
    pub fn finish<T>(self, value: T) -> Result<T, Violations> {
        if self.found.is_empty() {
            Ok(value)
        } else {
            Err(Violations(self.found))
        }
    }
}

fn join(path: &str, field: &str) -> String {
    match (path.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (false, true) => path.to_owned(),
        (false, false) => format!("{path}.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_parts_and_come_back() {
        let mut findings = Findings::under("connector");
        findings.within("stdio", |stdio| {
            stdio.within("env[1]", |env| env.add("name", "is bad"));
            stdio.add("command", "is missing");
        });
        findings.add("", "as a whole");
        let fields: Vec<_> = findings
            .finish(())
            .expect_err("three findings")
            .into_vec()
            .into_iter()
            .map(|violation| violation.field)
            .collect();
        assert_eq!(
            fields,
            [
                "connector.stdio.env[1].name",
                "connector.stdio.command",
                "connector"
            ]
        );
    }
}
