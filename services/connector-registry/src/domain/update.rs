//! Which fields an update changes, and what the connector is after it.
//!
//! Invariant: a path outside the documented ones is refused, never ignored; secret values do not come this way. Not
//! here: the etag (see the store, which compares it in the statement that writes).

use super::{
    draft::{Draft, TransportDraft},
    spec::Spec,
    violation::{Findings, Violations},
};

/// The parts of a connector that an update can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    DisplayName,
    Description,
    IconUri,
    Stdio,
    StreamableHttp,
    Timeouts,
    Labels,
}

const PATHS: [(&str, Part); 7] = [
    ("display_name", Part::DisplayName),
    ("description", Part::Description),
    ("icon_uri", Part::IconUri),
    ("stdio", Part::Stdio),
    ("streamable_http", Part::StreamableHttp),
    ("timeouts", Part::Timeouts),
    ("labels", Part::Labels),
];

/// Which fields an update names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mask {
    /// Every field that the request populates.
    Populated,
    /// Every field; what the request leaves out gets its default.
    All,
    /// These paths.
    Paths(Vec<String>),
}

impl Mask {
    /// The mask with these paths; none stands for an absent mask.
    #[must_use]
    pub fn new(paths: Vec<String>) -> Self {
        match paths.as_slice() {
            [] => Self::Populated,
            [star] if star == "*" => Self::All,
            _ => Self::Paths(paths),
        }
    }

    /// The spec after the update: `draft` where the mask says so, `current` elsewhere.
    ///
    /// # Errors
    /// Everything that is wrong with the mask and with the resulting connector.
    pub fn apply(&self, draft: &Draft, current: &Spec) -> Result<Spec, Violations> {
        let parts = self.parts(draft)?;
        refuse_secrets(draft)?;
        let has = |part| parts.contains(&part);
        let pick = |part, new: &String, old: &String| if has(part) { new } else { old }.clone();
        let replaced = has(Part::Stdio) || has(Part::StreamableHttp);
        let merged = Draft {
            display_name: pick(
                Part::DisplayName,
                &draft.display_name,
                &current.display_name,
            ),
            description: pick(Part::Description, &draft.description, &current.description),
            icon_uri: pick(Part::IconUri, &draft.icon_uri, &current.icon_uri),
            labels: if has(Part::Labels) {
                draft.labels.clone()
            } else {
                current.labels.clone()
            },
            enabled: Some(current.enabled),
            transport: if replaced {
                draft.transport.as_ref().map(TransportDraft::declared)
            } else {
                (&current.transport).into()
            },
            timeouts: if has(Part::Timeouts) {
                draft.timeouts
            } else {
                Some(current.timeouts)
            },
        };
        Ok(merged.check()?.spec)
    }

    fn parts(&self, draft: &Draft) -> Result<Vec<Part>, Violations> {
        match self {
            Self::All => Ok(PATHS.iter().map(|(_, part)| *part).collect()),
            Self::Populated => Ok(PATHS
                .iter()
                .map(|(_, part)| *part)
                .filter(|part| part.is_populated(draft))
                .collect()),
            Self::Paths(paths) => named_parts(paths, draft),
        }
    }
}

impl Part {
    fn is_populated(self, draft: &Draft) -> bool {
        match self {
            Self::DisplayName => !draft.display_name.is_empty(),
            Self::Description => !draft.description.is_empty(),
            Self::IconUri => !draft.icon_uri.is_empty(),
            Self::Stdio => matches!(draft.transport, Some(TransportDraft::Stdio { .. })),
            Self::StreamableHttp => {
                matches!(draft.transport, Some(TransportDraft::StreamableHttp { .. }))
            }
            Self::Timeouts => draft.timeouts.is_some(),
            Self::Labels => !draft.labels.is_empty(),
        }
    }
}

fn named_parts(paths: &[String], draft: &Draft) -> Result<Vec<Part>, Violations> {
    let mut findings = Findings::under("");
    let mut parts = Vec::new();
    for path in paths {
        match PATHS.iter().find(|(name, _)| name == path) {
            Some((_, part)) => parts.push(*part),
            None if path == "enabled" => {
                findings.add("update_mask", "enabled is changed by EnableConnector and DisableConnector");
            }
            None if path == "*" => findings.add("update_mask", "'*' stands alone"),
            None => findings.add(
                "update_mask",
                "knows display_name, description, icon_uri, stdio, streamable_http, timeouts, labels and '*'",
            ),
        }
    }
    for (name, part) in [
        ("stdio", Part::Stdio),
        ("streamable_http", Part::StreamableHttp),
    ] {
        if parts.contains(&part) && !part.is_populated(draft) {
            findings.add(
                &format!("connector.{name}"),
                "is named by the mask and missing",
            );
        }
    }
    findings.finish(parts)
}

fn refuse_secrets(draft: &Draft) -> Result<(), Violations> {
    let mut findings = Findings::under("connector");
    for path in draft
        .transport
        .iter()
        .flat_map(TransportDraft::secret_values)
    {
        findings.add(
            &path,
            "values of secrets are changed by SetConnectorSecrets",
        );
    }
    findings.finish(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use sensitive::Text;

    use super::*;
    use crate::domain::{
        draft::{FieldDraft, ValueDraft},
        spec::{Field, FieldValue, StreamableHttp, Timeouts, Transport},
    };

    fn current() -> Spec {
        Spec {
            display_name: "Old".into(),
            description: "Old text".into(),
            icon_uri: String::new(),
            labels: BTreeMap::from([("env".into(), "prod".into())]),
            enabled: false,
            transport: Transport::StreamableHttp(StreamableHttp {
                url: "https://mcp.example/".into(),
                headers: vec![Field {
                    name: "X-Key".into(),
                    prefix: String::new(),
                    value: FieldValue::Secret,
                }],
            }),
            timeouts: Timeouts {
                connect: Some(Duration::from_secs(5)),
                call: None,
            },
        }
    }

    fn http(url: &str, headers: Vec<FieldDraft>) -> Option<TransportDraft> {
        Some(TransportDraft::StreamableHttp {
            url: url.into(),
            headers,
        })
    }

    fn paths(names: &[&str]) -> Mask {
        Mask::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn fields(result: Result<Spec, Violations>) -> Vec<String> {
        let violations = result.expect_err("violations").into_vec();
        violations
            .into_iter()
            .map(|violation| violation.field)
            .collect()
    }

    #[test]
    fn only_named_fields_change() {
        let draft = Draft {
            display_name: "New".into(),
            description: "New text".into(),
            ..Draft::default()
        };
        let updated = paths(&["display_name"])
            .apply(&draft, &current())
            .expect("valid");
        assert_eq!(
            updated,
            Spec {
                display_name: "New".into(),
                ..current()
            }
        );
    }

    #[test]
    fn a_named_field_that_is_empty_is_cleared() {
        let updated =
            paths(&["description", "labels", "timeouts"]).apply(&Draft::default(), &current());
        let expected = Spec {
            description: String::new(),
            labels: BTreeMap::new(),
            timeouts: Timeouts::default(),
            ..current()
        };
        assert_eq!(updated.expect("valid"), expected);
    }

    #[test]
    fn without_a_mask_what_is_populated_changes() {
        let draft = Draft {
            display_name: "New".into(),
            transport: http("https://other.example/", vec![]),
            enabled: Some(true),
            ..Draft::default()
        };
        let updated = paths(&[]).apply(&draft, &current()).expect("valid");
        assert_eq!(
            (updated.display_name.as_str(), updated.description.as_str()),
            ("New", "Old text")
        );
        assert!(!updated.enabled, "enabled is not changed by an update");
        assert_eq!(updated.transport.secret_fields().count(), 0);
    }

    #[test]
    fn a_star_replaces_everything_but_enabled() {
        let draft = Draft {
            transport: http("https://other.example/", vec![]),
            ..Draft::default()
        };
        let updated = paths(&["*"]).apply(&draft, &current()).expect("valid");
        assert_eq!(updated.display_name, "");
        assert!(updated.labels.is_empty() && !updated.enabled);
        assert_eq!(
            fields(paths(&["*"]).apply(&Draft::default(), &current())),
            ["connector"]
        );
    }

    #[test]
    fn unknown_paths_and_missing_values_are_refused_together() {
        let mask = paths(&["enabled", "uid", "stdio", "*"]);
        assert_eq!(
            fields(mask.apply(&Draft::default(), &current())),
            [
                "update_mask",
                "update_mask",
                "update_mask",
                "connector.stdio"
            ]
        );
    }

    #[test]
    fn secret_values_are_refused() {
        let header = |value| FieldDraft {
            name: "X-Key".into(),
            prefix: String::new(),
            value,
        };
        let secret = header(ValueDraft::Secret(Text::new("hunter2".into())));
        let draft = Draft {
            transport: http("https://mcp.example/", vec![secret]),
            ..Draft::default()
        };
        assert_eq!(
            fields(paths(&[]).apply(&draft, &current())),
            ["connector.streamable_http.headers[0].secret"]
        );
        let declared = header(ValueDraft::Declared);
        let draft = Draft {
            transport: http("https://mcp.example/", vec![declared]),
            ..Draft::default()
        };
        assert_eq!(
            paths(&[]).apply(&draft, &current()).expect("valid"),
            current()
        );
    }

    #[test]
    fn a_transport_of_a_newer_release_can_only_be_replaced() {
        let newer = Spec {
            transport: Transport::Unknown,
            ..current()
        };
        let rename = Draft {
            display_name: "New".into(),
            ..Draft::default()
        };
        assert_eq!(
            fields(paths(&["display_name"]).apply(&rename, &newer)),
            ["connector"]
        );
        let replace = Draft {
            transport: http("https://mcp.example/", vec![]),
            ..Draft::default()
        };
        assert!(paths(&[]).apply(&replace, &newer).is_ok());
    }
}
