//! A connector as a caller wrote it, and the way from there to a checked [`Spec`].
//!
//! Invariant: everything that is wrong is found in one go, under the paths of the request message. Secret values are
//! checked and split off here; the spec that comes out does not hold them. Not here: policy, and what exists already.

use std::{collections::BTreeMap, time::Duration};

use sensitive::Text;

use super::{
    check,
    spec::{
        Field, FieldValue, SecretField, SecretPlace, Spec, Stdio, StreamableHttp, Timeouts,
        Transport,
    },
    violation::{Findings, Violations},
};

const MAX_DISPLAY_NAME: usize = 128;
const MAX_DESCRIPTION: usize = 1024;
const MAX_LABELS: usize = 64;
const MAX_FIELDS: usize = 64;
const MAX_ARGUMENTS: usize = 64;
const MAX_PREFIX: usize = 64;
/// All texts of one connector together, so that pages, watches and reports of many stay in bounds.
const MAX_SPEC: usize = 256 * 1024;
const CONNECT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);
const CALL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(15 * 60);

/// A connector as a caller wrote it.
#[derive(Debug, Default)]
pub struct Draft {
    /// See [`Spec`].
    pub display_name: String,
    /// See [`Spec`].
    pub description: String,
    /// See [`Spec`].
    pub icon_uri: String,
    /// See [`Spec`].
    pub labels: BTreeMap<String, String>,
    /// Absent means the default: enabled.
    pub enabled: Option<bool>,
    /// Absent is an error, unless an update leaves the transport alone.
    pub transport: Option<TransportDraft>,
    /// See [`Spec`].
    pub timeouts: Option<Timeouts>,
}

/// A transport as a caller wrote it.
#[derive(Debug)]
pub enum TransportDraft {
    /// See [`Stdio`].
    Stdio {
        /// See [`Stdio`].
        command: String,
        /// See [`Stdio`].
        arguments: Vec<String>,
        /// See [`Stdio`].
        environment: Vec<FieldDraft>,
        /// See [`Stdio`].
        working_directory: String,
    },
    /// See [`StreamableHttp`].
    StreamableHttp {
        /// See [`StreamableHttp`].
        url: String,
        /// See [`StreamableHttp`].
        headers: Vec<FieldDraft>,
    },
}

/// A variable or header as a caller wrote it.
#[derive(Debug)]
pub struct FieldDraft {
    /// Its name.
    pub name: String,
    /// See [`Field`].
    pub prefix: String,
    /// Its value.
    pub value: ValueDraft,
}

/// The value of a [`FieldDraft`].
#[derive(Debug)]
pub enum ValueDraft {
    /// A secret whose value comes by another way, or is stored already.
    Declared,
    /// A secret's value.
    Secret(Text),
    /// A readable value.
    Plain(String),
}

/// A secret's value on its way to the vault.
#[derive(Debug)]
pub struct SecretValue {
    /// Which field it is for.
    pub field: SecretField,
    /// The value.
    pub value: Text,
}

/// A checked draft.
#[derive(Debug)]
pub struct Checked {
    /// What is to be stored.
    pub spec: Spec,
    /// What is to be sealed.
    pub secrets: Vec<SecretValue>,
}

impl Draft {
    /// Checks a whole new connector.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(self) -> Result<Checked, Violations> {
        let mut findings = Findings::under("connector");
        let mut secrets = Vec::new();
        self.check_texts(&mut findings);
        let timeouts = self.timeouts.unwrap_or_default();
        check_timeouts(timeouts, &mut findings);
        let transport = match self.transport {
            Some(transport) => transport.check(&mut secrets, &mut findings),
            None => {
                findings.add("", "one of stdio and streamable_http is required");
                Transport::Unknown
            }
        };
        let spec = Spec {
            display_name: self.display_name,
            description: self.description,
            icon_uri: self.icon_uri,
            labels: self.labels,
            enabled: self.enabled.unwrap_or(true),
            transport,
            timeouts,
        };
        // A spec is plain data; it always serialises.
        if serde_json::to_string(&spec).map_or(0, |text| text.len()) > MAX_SPEC {
            findings.add("", "has at most 256 KiB of text in all");
        }
        findings.finish(Checked { spec, secrets })
    }

    fn check_texts(&self, findings: &mut Findings) {
        let mut note = |field: &str, result: Result<(), check::Requirement>| {
            if let Err(requirement) = result {
                findings.add(field, requirement);
            }
        };
        note(
            "display_name",
            check::line(&self.display_name, MAX_DISPLAY_NAME),
        );
        note(
            "description",
            check::paragraph(&self.description, MAX_DESCRIPTION),
        );
        note("icon_uri", check::icon_uri(&self.icon_uri));
        if self.labels.len() > MAX_LABELS {
            note("labels", Err("a connector has at most 64 labels"));
        }
        for (key, value) in &self.labels {
            note("labels", check::label_key(key));
            // Only a key that was found harmless may stand in a path.
            let path = if check::label_key(key).is_ok() {
                format!("labels.{key}")
            } else {
                "labels".to_owned()
            };
            note(&path, check::label_value(value));
        }
    }
}

impl TransportDraft {
    fn check(self, secrets: &mut Vec<SecretValue>, findings: &mut Findings) -> Transport {
        match self {
            Self::Stdio {
                command,
                arguments,
                environment,
                working_directory,
            } => findings.within("stdio", |findings| {
                check_command(&command, &arguments, &working_directory, findings);
                let environment = check_fields(
                    SecretPlace::Environment,
                    "environment",
                    environment,
                    secrets,
                    findings,
                );
                Transport::Stdio(Stdio {
                    command,
                    arguments,
                    environment,
                    working_directory,
                })
            }),
            Self::StreamableHttp { url, headers } => {
                findings.within("streamable_http", |findings| {
                    if let Err(requirement) = check::endpoint_url(&url) {
                        findings.add("url", requirement);
                    }
                    let headers =
                        check_fields(SecretPlace::Header, "headers", headers, secrets, findings);
                    Transport::StreamableHttp(StreamableHttp { url, headers })
                })
            }
        }
    }

    /// The paths of fields that carry secret values.
    pub(super) fn secret_values(&self) -> Vec<String> {
        let (list, fields) = match self {
            Self::Stdio { environment, .. } => ("stdio.environment", environment),
            Self::StreamableHttp { headers, .. } => ("streamable_http.headers", headers),
        };
        let carries = |field: &FieldDraft| matches!(field.value, ValueDraft::Secret(_));
        fields
            .iter()
            .enumerate()
            .filter(|(_, field)| carries(field))
            .map(|(at, _)| format!("{list}[{at}].secret"))
            .collect()
    }
}

fn check_command(command: &str, arguments: &[String], folder: &str, findings: &mut Findings) {
    if let Err(requirement) = check::command(command) {
        findings.add("command", requirement);
    }
    if arguments.len() > MAX_ARGUMENTS {
        findings.add("arguments", "a command has at most 64 arguments");
    }
    let mut previous = None;
    for (at, argument) in arguments.iter().enumerate().take(MAX_ARGUMENTS) {
        if let Err(requirement) = check::argument(argument, previous) {
            findings.add(&format!("arguments[{at}]"), requirement);
        }
        previous = Some(argument.as_str());
    }
    if !folder.is_empty()
        && let Err(requirement) = check::working_directory(folder)
    {
        findings.add("working_directory", requirement);
    }
}

fn check_fields(
    place: SecretPlace,
    list: &str,
    drafts: Vec<FieldDraft>,
    secrets: &mut Vec<SecretValue>,
    findings: &mut Findings,
) -> Vec<Field> {
    if drafts.len() > MAX_FIELDS {
        findings.add(list, "at most 64 are allowed");
        return Vec::new();
    }
    let mut fields: Vec<Field> = Vec::with_capacity(drafts.len());
    for (at, draft) in drafts.into_iter().enumerate() {
        findings.within(format!("{list}[{at}]"), |findings| {
            let known = SecretField::new(place, &draft.name);
            if fields
                .iter()
                .any(|field| SecretField::new(place, &field.name) == known)
            {
                findings.add("name", "is given twice");
            }
            fields.push(check_field(place, draft, secrets, findings));
        });
    }
    fields
}

fn check_field(
    place: SecretPlace,
    draft: FieldDraft,
    secrets: &mut Vec<SecretValue>,
    findings: &mut Findings,
) -> Field {
    if let Err(requirement) = check_name(place, &draft.name) {
        findings.add("name", requirement);
    }
    if draft.prefix.len() > MAX_PREFIX
        || draft
            .prefix
            .chars()
            .any(|character| !(' '..='~').contains(&character))
    {
        findings.add("prefix", "a prefix has at most 64 visible ASCII characters");
    }
    let value = match draft.value {
        ValueDraft::Declared => FieldValue::Secret,
        ValueDraft::Plain(value) => {
            if let Err(requirement) = check_value(place, &value) {
                findings.add("plain", requirement);
            }
            FieldValue::Plain(value)
        }
        ValueDraft::Secret(value) => {
            if let Err(requirement) = check_secret(place, &value) {
                findings.add("secret", requirement);
            }
            secrets.push(SecretValue {
                field: SecretField::new(place, &draft.name),
                value,
            });
            FieldValue::Secret
        }
    };
    Field {
        name: draft.name,
        prefix: draft.prefix,
        value,
    }
}

fn check_name(place: SecretPlace, name: &str) -> Result<(), check::Requirement> {
    match place {
        SecretPlace::Environment => check::environment_name(name),
        SecretPlace::Header => check::header_name(name),
    }
}

fn check_value(place: SecretPlace, value: &str) -> Result<(), check::Requirement> {
    match place {
        SecretPlace::Environment => check::environment_value(value),
        SecretPlace::Header => check::header_value(value),
    }
}

/// Checks a secret's value, which is never empty.
///
/// # Errors
/// What the value must be.
pub fn check_secret(place: SecretPlace, value: &Text) -> Result<(), check::Requirement> {
    if value.expose().is_empty() {
        Err("a secret is not empty")
    } else {
        check_value(place, value.expose())
    }
}

fn check_timeouts(timeouts: Timeouts, findings: &mut Findings) {
    findings.within("timeouts", |findings| {
        if timeouts
            .connect
            .is_some_and(|limit| !CONNECT.contains(&limit))
        {
            findings.add("connect", "is from 1 s to 60 s");
        }
        if timeouts.call.is_some_and(|limit| !CALL.contains(&limit)) {
            findings.add("call", "is from 1 s to 15 min");
        }
    });
}

impl From<&Transport> for Option<TransportDraft> {
    /// The draft that leads to the same transport; `None` when a newer release wrote it.
    fn from(transport: &Transport) -> Self {
        match transport {
            Transport::Stdio(stdio) => Some(TransportDraft::Stdio {
                command: stdio.command.clone(),
                arguments: stdio.arguments.clone(),
                environment: stdio.environment.iter().map(FieldDraft::from).collect(),
                working_directory: stdio.working_directory.clone(),
            }),
            Transport::StreamableHttp(http) => Some(TransportDraft::StreamableHttp {
                url: http.url.clone(),
                headers: http.headers.iter().map(FieldDraft::from).collect(),
            }),
            Transport::Unknown => None,
        }
    }
}

impl TransportDraft {
    /// A copy without the values of secrets.
    #[must_use]
    pub fn declared(&self) -> Self {
        let copies = |fields: &[FieldDraft]| fields.iter().map(FieldDraft::declared).collect();
        match self {
            Self::Stdio {
                command,
                arguments,
                environment,
                working_directory,
            } => Self::Stdio {
                command: command.clone(),
                arguments: arguments.clone(),
                environment: copies(environment),
                working_directory: working_directory.clone(),
            },
            Self::StreamableHttp { url, headers } => Self::StreamableHttp {
                url: url.clone(),
                headers: copies(headers),
            },
        }
    }
}

impl FieldDraft {
    fn declared(&self) -> Self {
        let value = match &self.value {
            ValueDraft::Declared | ValueDraft::Secret(_) => ValueDraft::Declared,
            ValueDraft::Plain(value) => ValueDraft::Plain(value.clone()),
        };
        Self {
            name: self.name.clone(),
            prefix: self.prefix.clone(),
            value,
        }
    }
}

impl From<&Field> for FieldDraft {
    fn from(field: &Field) -> Self {
        let value = match &field.value {
            FieldValue::Secret => ValueDraft::Declared,
            FieldValue::Plain(value) => ValueDraft::Plain(value.clone()),
        };
        Self {
            name: field.name.clone(),
            prefix: field.prefix.clone(),
            value,
        }
    }
}

#[cfg(test)]
mod tests;
