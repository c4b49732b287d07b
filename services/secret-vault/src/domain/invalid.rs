//! A field of a request that breaks a rule. Never repeats what was given: it may be a secret.

use std::borrow::Cow;

/// Which field is wrong, and the static text of the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub(crate) struct Invalid {
    /// The field's path in the request, `set[3].name`.
    pub(crate) field: Cow<'static, str>,
    /// The rule.
    pub(crate) rule: &'static str,
}

impl Invalid {
    pub(crate) fn new(field: impl Into<Cow<'static, str>>, rule: &'static str) -> Self {
        Self {
            field: field.into(),
            rule,
        }
    }
}
