//! The grammar that other programs rely on, word for word.

use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn add(line: &str) -> AddArgs {
    match parse(line).unwrap().command {
        Command::Client(ClientCommand::Connector(ConnectorCommand::Add(arguments))) => *arguments,
        other => panic!("{other:?}"),
    }
}

fn refused(line: &str) {
    let error = parse(line).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}: {error}");
}

#[test]
fn the_grammar_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn up_listens_on_the_documented_ports() {
    let Command::Up(up) = parse("patchbay up").unwrap().command else {
        panic!()
    };
    assert_eq!(up.registry_listen.to_string(), "127.0.0.1:7401");
    assert_eq!(up.vault_listen.to_string(), "127.0.0.1:7402");
    assert_eq!(up.runtime_listen.to_string(), "127.0.0.1:7403");
    assert!(!up.demo);
    let line = "patchbay up --data-dir /d --registry-listen 127.0.0.1:0 --vault-listen [::1]:0 \
                --runtime-listen 127.0.0.1:3 --demo";
    let cli = parse(line).unwrap();
    assert_eq!(cli.global.data_dir, PathBuf::from("/d"));
    let Command::Up(up) = cli.command else {
        panic!()
    };
    assert!(up.demo);
    assert_eq!(up.vault_listen.to_string(), "[::1]:0");
}

#[test]
fn the_data_folder_stands_before_or_after_the_command() {
    for line in [
        "patchbay --data-dir /d connector list users/ada",
        "patchbay connector list users/ada --data-dir /d",
    ] {
        assert_eq!(
            parse(line).unwrap().global.data_dir,
            PathBuf::from("/d"),
            "{line}"
        );
    }
}

#[test]
fn a_stdio_connector_has_a_command_after_two_dashes() {
    let arguments = add(
        "patchbay connector add users/ada/connectors/time --stdio --env A=b \
         --secret-env KEY=@/f --secret-env OTHER=@- --wait -- uvx mcp-server-time --local-timezone UTC",
    );
    assert_eq!(arguments.name.to_string(), "users/ada/connectors/time");
    assert_eq!(
        arguments.command,
        ["uvx", "mcp-server-time", "--local-timezone", "UTC"]
    );
    assert_eq!(arguments.env.len(), 1);
    assert_eq!(arguments.secret_env.len(), 2);
    assert!(arguments.wait && arguments.stdio);
}

#[test]
fn an_http_connector_has_headers() {
    let arguments = add(
        "patchbay connector add projects/x/connectors/a --http https://h/mcp \
         --header X-A=1 --header X-B=2 --secret-header Authorization=@/f",
    );
    assert_eq!(arguments.http.as_deref(), Some("https://h/mcp"));
    assert_eq!(arguments.header.len(), 2);
    assert_eq!(arguments.secret_header.len(), 1);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let name = "users/ada/connectors/a";
    refused(&format!("patchbay connector add {name}"));
    refused(&format!("patchbay connector add {name} --stdio"));
    refused(&format!(
        "patchbay connector add {name} --stdio --http http://h -- c"
    ));
    refused(&format!(
        "patchbay connector add {name} --http http://h -- c"
    ));
    refused(&format!(
        "patchbay connector add {name} --http http://h --env A=b"
    ));
    refused(&format!(
        "patchbay connector add {name} --http http://h --secret-env A=@b"
    ));
    refused(&format!(
        "patchbay connector add {name} --stdio --header A=b -- c"
    ));
    refused(&format!(
        "patchbay connector add {name} --stdio --secret-env A=b -- c"
    ));
    refused(&format!(
        "patchbay connector add {name} --stdio --wait --disabled -- c"
    ));
    refused("patchbay connector add time --stdio -- c");
    refused("patchbay connector list ada");
    refused("patchbay tool call users/ada/connectors/a");
    refused("patchbay --timeout 0 connector list users/ada");
}

#[test]
fn a_secret_in_the_wrong_place_is_refused_and_not_repeated() {
    for option in ["--secret-env", "--secret-header"] {
        let transport = if option == "--secret-env" {
            "--stdio"
        } else {
            "--http http://h"
        };
        let command = if option == "--secret-env" { "-- c" } else { "" };
        let line = format!(
            "patchbay connector add users/ada/connectors/a {transport} {option} A=hunter2 {command}"
        );
        let error = parse(&line).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.to_string().contains(option), "{error}");
    }
}

#[test]
fn tools_are_called_by_connector_and_name() {
    let line = r#"patchbay tool call users/ada/connectors/time get_current_time --args {"a":1}"#;
    let Command::Client(ClientCommand::Tool(ToolCommand::Call {
        connector,
        tool,
        args,
        ..
    })) = parse(line).unwrap().command
    else {
        panic!()
    };
    assert_eq!(connector.to_string(), "users/ada/connectors/time");
    assert_eq!(
        (tool.as_str(), args.as_deref()),
        ("get_current_time", Some(r#"{"a":1}"#))
    );
}

#[test]
fn every_documented_command_is_there() {
    for line in [
        "patchbay connector get users/ada/connectors/time",
        "patchbay connector list users/ada",
        "patchbay connector list users/- --filter condition=ERROR",
        "patchbay connector enable users/ada/connectors/time",
        "patchbay connector disable users/ada/connectors/time",
        "patchbay connector rm users/ada/connectors/time",
        "patchbay connector watch users/ada",
        "patchbay tool list users/ada/connectors/time",
        "patchbay session list users/ada",
        "patchbay session get users/ada/connectors/time",
        "patchbay session watch users/ada",
        "patchbay sync users/ada/connectors/time",
        "patchbay bench",
        "patchbay bench --calls 100 --concurrency 1,2",
        "patchbay bench sessions --count 500",
        "patchbay --output json connector get system/connectors/time",
        "patchbay demo-server",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn help_names_the_exit_codes_and_never_shows_the_demo_secret() {
    let help = Cli::command().render_long_help().to_string();
    assert!(
        help.contains("69 NOT_FOUND") && help.contains("64 "),
        "{help}"
    );
    assert!(!help.contains("demo-server"), "{help}");
}
