//! What a draft must be.

use super::*;

pub(crate) fn field(name: &str, value: ValueDraft) -> FieldDraft {
    FieldDraft {
        name: name.into(),
        prefix: String::new(),
        value,
    }
}

fn secret(text: &str) -> ValueDraft {
    ValueDraft::Secret(Text::new(text.into()))
}

fn paths(result: Result<Checked, Violations>) -> Vec<String> {
    let violations = result.expect_err("violations").into_vec();
    violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

#[test]
fn a_stdio_connector_is_split_into_spec_and_secrets() {
    let draft = Draft {
        display_name: "Time".into(),
        transport: Some(TransportDraft::Stdio {
            command: "uvx".into(),
            arguments: vec!["mcp-server-time".into()],
            environment: vec![
                field("TOKEN", secret("hunter2")),
                field("ZONE", ValueDraft::Plain("UTC".into())),
                field("LATER", ValueDraft::Declared),
            ],
            working_directory: String::new(),
        }),
        ..Draft::default()
    };
    let checked = draft.check().expect("valid");
    assert!(checked.spec.enabled);
    assert!(!format!("{:?}", checked.spec).contains("hunter2"));
    let [only] = checked.secrets.as_slice() else {
        panic!("one secret")
    };
    assert_eq!(
        only.field,
        SecretField::new(SecretPlace::Environment, "TOKEN")
    );
    assert_eq!(only.value.expose(), "hunter2");
    let declared: Vec<_> = checked
        .spec
        .transport
        .secret_fields()
        .map(|field| field.name)
        .collect();
    assert_eq!(declared, ["TOKEN", "LATER"]);
}

#[test]
fn everything_wrong_is_told_at_once_with_its_path() {
    let draft = Draft {
        display_name: "x".repeat(129),
        description: "\u{0}".into(),
        icon_uri: "http://icon.example/".into(),
        labels: BTreeMap::from([("Bad".into(), "x".into()), ("env".into(), "y".repeat(257))]),
        enabled: None,
        transport: Some(TransportDraft::StreamableHttp {
            url: "https://ada:pw@mcp.example/".into(),
            headers: vec![
                field("Accept", ValueDraft::Plain("x".into())),
                field("X-Key", secret("a\r\nb")),
                field("x-key", ValueDraft::Declared),
                field("X-Empty", secret("")),
                field("X-Plain", ValueDraft::Plain("é".into())),
            ],
        }),
        timeouts: Some(Timeouts {
            connect: Some(Duration::ZERO),
            call: Some(Duration::from_secs(901)),
        }),
    };
    assert_eq!(
        paths(draft.check()),
        [
            "connector.display_name",
            "connector.description",
            "connector.icon_uri",
            "connector.labels",
            "connector.labels.env",
            "connector.timeouts.connect",
            "connector.timeouts.call",
            "connector.streamable_http.url",
            "connector.streamable_http.headers[0].name",
            "connector.streamable_http.headers[1].secret",
            "connector.streamable_http.headers[2].name",
            "connector.streamable_http.headers[3].secret",
            "connector.streamable_http.headers[4].plain",
        ]
    );
}

#[test]
fn no_finding_repeats_what_was_sent() {
    let draft = Draft {
        transport: Some(TransportDraft::Stdio {
            command: "npx".into(),
            arguments: vec!["--token=hunter2hunter2".into()],
            environment: vec![field("hunter2-name", secret("hunter2\0"))],
            working_directory: "hunter2".into(),
        }),
        ..Draft::default()
    };
    let violations = draft.check().expect_err("violations");
    assert_eq!(violations.as_slice().len(), 4);
    assert!(!format!("{violations:?} {violations}").contains("hunter2"));
}

#[test]
fn counts_are_bounded() {
    let stdio = |arguments: usize, variables: usize| Draft {
        labels: (0..=64)
            .map(|number| (format!("l{number}"), String::new()))
            .collect(),
        transport: Some(TransportDraft::Stdio {
            command: "npx".into(),
            arguments: vec!["a".into(); arguments],
            environment: (0..variables)
                .map(|number| field(&format!("V{number}"), ValueDraft::Declared))
                .collect(),
            working_directory: String::new(),
        }),
        ..Draft::default()
    };
    assert_eq!(
        paths(stdio(65, 65).check()),
        [
            "connector.labels",
            "connector.stdio.arguments",
            "connector.stdio.environment"
        ]
    );
    assert_eq!(paths(stdio(64, 64).check()), ["connector.labels"]);
}

#[test]
fn all_texts_together_are_bounded() {
    let with = |variables: usize| Draft {
        transport: Some(TransportDraft::Stdio {
            command: "npx".into(),
            arguments: vec![],
            environment: (0..variables)
                .map(|number| {
                    field(
                        &format!("V{number}"),
                        ValueDraft::Plain("x".repeat(60 * 1024)),
                    )
                })
                .collect(),
            working_directory: String::new(),
        }),
        ..Draft::default()
    };
    assert!(with(4).check().is_ok());
    assert_eq!(paths(with(5).check()), ["connector"]);
}

#[test]
fn a_connector_without_transport_is_refused() {
    assert_eq!(paths(Draft::default().check()), ["connector"]);
}
