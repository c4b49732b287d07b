//! The arguments of `connector add` as a connector. What the values must be like is the registry's to say.

use std::io::Read;

use contracts::registry::v1 as pb;
use contracts::registry::v1::connector::Transport;
use contracts::registry::v1::variable::Value;

use crate::cli::{AddArgs, Assignment};
use crate::client::value::{Place, SecretValue, read_secrets};
use crate::failure::Failure;

/// The connector that the arguments describe; secrets are read from their files and `standard_input`.
pub(super) fn connector(
    arguments: AddArgs,
    standard_input: &mut dyn Read,
) -> Result<pb::Connector, Failure> {
    let AddArgs {
        name: _,
        http,
        stdio: _,
        env,
        header,
        secret_env,
        secret_header,
        working_directory,
        display_name,
        label,
        disabled,
        wait: _,
        command,
    } = arguments;
    let transport = match http {
        Some(url) => {
            let secrets = read_secrets(&secret_header, Place::Header, standard_input)?;
            let headers = variables(header, secrets);
            Transport::StreamableHttp(pb::StreamableHttpTransport { url, headers })
        }
        None => {
            let secrets = read_secrets(&secret_env, Place::Environment, standard_input)?;
            let mut words = command.into_iter();
            Transport::Stdio(pb::StdioTransport {
                // The grammar demands a command; an empty one is refused by the registry.
                command: words.next().unwrap_or_default(),
                arguments: words.collect(),
                environment: variables(env, secrets),
                working_directory: working_directory.unwrap_or_default(),
            })
        }
    };
    Ok(pb::Connector {
        display_name: display_name.unwrap_or_default(),
        labels: label
            .into_iter()
            .map(|Assignment { name, value }| (name, value))
            .collect(),
        enabled: Some(!disabled),
        transport: Some(transport),
        ..pb::Connector::default()
    })
}

fn variables(plain: Vec<Assignment>, secrets: Vec<SecretValue>) -> Vec<pb::Variable> {
    let plain = plain
        .into_iter()
        .map(|Assignment { name, value }| pb::Variable {
            name,
            prefix: String::new(),
            value: Some(Value::Plain(value)),
        });
    let secrets = secrets.into_iter().map(
        |SecretValue {
             name,
             prefix,
             value,
         }| pb::Variable {
            name,
            prefix,
            value: Some(Value::Secret(value.expose().to_owned())),
        },
    );
    plain.chain(secrets).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, ClientCommand, Command, ConnectorCommand};

    fn made(line: &str, input: &str) -> pb::Connector {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Client(ClientCommand::Connector(ConnectorCommand::Add(arguments))) =
            cli.command
        else {
            panic!()
        };
        connector(*arguments, &mut input.as_bytes()).unwrap()
    }

    #[test]
    fn a_program_gets_its_words_and_its_environment() {
        let line = "patchbay connector add users/ada/connectors/a --stdio --env A=b --secret-env K=@- \
                    --label team=x -- uvx server --flag=1";
        let connector = made(line, "s3cret\n");
        let Some(Transport::Stdio(stdio)) = connector.transport else {
            panic!()
        };
        assert_eq!(stdio.command, "uvx");
        assert_eq!(stdio.arguments, ["server", "--flag=1"]);
        assert_eq!(stdio.environment[0].value, Some(Value::Plain("b".into())));
        assert_eq!(
            stdio.environment[1].value,
            Some(Value::Secret("s3cret".into()))
        );
        assert_eq!(connector.labels["team"], "x");
        assert_eq!(connector.enabled, Some(true));
    }

    #[test]
    fn a_bearer_token_is_stored_without_its_scheme() {
        let line = "patchbay connector add users/ada/connectors/a --http https://h/mcp --disabled \
                    --header X-A=1 --secret-header Authorization=@-";
        let connector = made(line, "Bearer abc\n");
        let Some(Transport::StreamableHttp(http)) = connector.transport else {
            panic!()
        };
        assert_eq!(http.url, "https://h/mcp");
        assert_eq!(http.headers[1].prefix, "Bearer ");
        assert_eq!(http.headers[1].value, Some(Value::Secret("abc".into())));
        assert_eq!(connector.enabled, Some(false));
    }
}
