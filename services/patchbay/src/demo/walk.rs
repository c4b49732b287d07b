//! What `up --demo` does, step by step, as a client of the suite would: everything goes through gRPC.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use contracts::registry::v1 as registry;
use contracts::registry::v1::connector::Transport;
use contracts::registry::v1::variable::Value;
use contracts::runtime::v1 as runtime;
use identity::generate_token;
use prost_types::Duration as ProtoDuration;
use sensitive::Text;

use crate::client::Client;
use crate::client::print::{milliseconds, say, short};
use crate::client::table::one_line;
use crate::client::tool::result_text;
use crate::data_folder::{Addresses, DataFolder};
use crate::demo::server::proof;
use crate::failure::Failure;

/// Where the demo's connector lives.
const SCOPE: &str = "users/demo";
const CONNECTOR_ID: &str = "demo";
const CONNECTOR: &str = "users/demo/connectors/demo";
/// The variable in which the bundled server expects its secret.
const SECRET_VARIABLE: &str = "PATCHBAY_DEMO_SECRET";
/// Longest wait for the bundled server.
const READY_WITHIN: ProtoDuration = ProtoDuration {
    seconds: 30,
    nanos: 0,
};

/// Adds a connector to the bundled server, waits for it, lists and calls its tools, has it prove that it
/// holds its secret, and prints all that.
pub(crate) async fn walk(client: &Client, program: &Path) -> Result<(), Failure> {
    say("\nThe demo, step by step:\n")?;
    let secret = generate_token();
    let created = add(client, program, &secret).await?;
    wait(client, &created).await?;
    list(client).await?;
    for (tool, arguments) in [
        ("echo", r#"{"text":"hello, patchbay"}"#),
        ("add", r#"{"a":9007199254740993,"b":1}"#),
        ("time", "{}"),
    ] {
        let answer = call(client, tool, arguments).await?;
        say(&format!(
            "   {tool} {arguments} -> {}\n",
            one_line(answer.trim_end())
        ))?;
    }
    prove(client, &secret).await?;
    health(client).await
}

async fn add(
    client: &Client,
    program: &Path,
    secret: &Text,
) -> Result<registry::Connector, Failure> {
    // A connector of the last time holds a secret that nobody knows any more, and may name a program that
    // has moved.
    let request = registry::DeleteConnectorRequest {
        name: CONNECTOR.to_owned(),
        etag: String::new(),
        allow_missing: true,
    };
    let deleted = client
        .registry()
        .delete_connector(client.request(request))
        .await?
        .into_inner();
    if deleted.revision != 0 {
        say("   (the demo connector of the last time is deleted, with its secret)\n")?;
    }
    let command = program
        .to_str()
        .context("the path of this program is not UTF-8")?;
    let request = creation(command, secret);
    let created = client
        .registry()
        .create_connector(client.request(request))
        .await?
        .into_inner();
    let created = created
        .connector
        .context("the registry answered without the connector")?;
    let sealed = created
        .secrets
        .iter()
        .any(|state| state.name == SECRET_VARIABLE && state.set);
    if !sealed {
        return Err(anyhow!("the registry did not say that the secret is stored").into());
    }
    say(&format!(
        "1. {CONNECTOR} created: `{} demo-server` over stdio\n\
         2. its secret {SECRET_VARIABLE} was made up just now and sealed by the vault; nothing can read it back\n",
        one_line(command)
    ))?;
    Ok(created)
}

fn creation(command: &str, secret: &Text) -> registry::CreateConnectorRequest {
    let stdio = registry::StdioTransport {
        command: command.to_owned(),
        arguments: vec!["demo-server".to_owned()],
        environment: vec![registry::Variable {
            name: SECRET_VARIABLE.to_owned(),
            prefix: String::new(),
            value: Some(Value::Secret(secret.expose().to_owned())),
        }],
        working_directory: String::new(),
    };
    registry::CreateConnectorRequest {
        parent: SCOPE.to_owned(),
        connector_id: CONNECTOR_ID.to_owned(),
        request_id: uuid::Uuid::new_v4().to_string(),
        validate_only: false,
        connector: Some(registry::Connector {
            display_name: "Demo".to_owned(),
            description: "The MCP server that comes with patchbay".to_owned(),
            transport: Some(Transport::Stdio(stdio)),
            ..registry::Connector::default()
        }),
    }
}

async fn wait(client: &Client, created: &registry::Connector) -> Result<(), Failure> {
    let started = Instant::now();
    let request = registry::WaitConnectorRequest {
        name: CONNECTOR.to_owned(),
        min_revision: created.revision,
        timeout: Some(READY_WITHIN),
    };
    let answer = client
        .registry()
        .wait_connector(client.patient_request(request))
        .await?;
    let connector = answer.into_inner().connector.unwrap_or_default();
    let status = connector.status.unwrap_or_default();
    if status.state() != registry::ConnectorState::Ready {
        let state = short(status.state().as_str_name(), "CONNECTOR_STATE_");
        let (reason, message) = (&status.reason, &status.message);
        return Err(
            anyhow!("the demo connector is {state}, not READY: {reason}: {message}").into(),
        );
    }
    say(&format!(
        "3. the runtime started the server, gave it its secret, spoke MCP {} and read its tools: READY after {} ms\n",
        one_line(&status.protocol_version),
        started.elapsed().as_millis()
    ))
}

async fn list(client: &Client) -> Result<(), Failure> {
    let request = registry::ListToolsRequest {
        parent: CONNECTOR.to_owned(),
        page_size: 0,
        page_token: String::new(),
        view: registry::ToolView::Basic.into(),
    };
    let answer = client
        .registry()
        .list_tools(client.request(request))
        .await?
        .into_inner();
    say("4. its tools, from the registry:\n")?;
    for tool in &answer.tools {
        say(&format!(
            "   {:<13} {}\n",
            one_line(&tool.tool_name),
            one_line(&tool.description)
        ))?;
    }
    say("5. calls through the runtime:\n")
}

async fn call(client: &Client, tool: &str, arguments_json: &str) -> Result<String, Failure> {
    let request = runtime::CallToolRequest {
        connector: CONNECTOR.to_owned(),
        tool: tool.to_owned(),
        arguments_json: arguments_json.to_owned(),
        invocation_id: uuid::Uuid::new_v4().to_string(),
        ..runtime::CallToolRequest::default()
    };
    let answer = client
        .tools()
        .call_tool(client.request(request))
        .await?
        .into_inner();
    let text = result_text(&answer.result_json);
    if answer.is_error {
        return Err(anyhow!(
            "the tool {tool} reported an error: {}",
            one_line(text.trim_end())
        )
        .into());
    }
    Ok(text)
}

async fn prove(client: &Client, secret: &Text) -> Result<(), Failure> {
    let nonce = uuid::Uuid::new_v4().to_string();
    let answer = call(client, "prove_secret", &format!(r#"{{"nonce":"{nonce}"}}"#)).await?;
    let answer = answer.trim_end();
    if answer != proof(secret, &nonce) {
        return Err(anyhow!("the server does not hold the secret that the vault was given").into());
    }
    say(&format!(
        "6. prove_secret: HMAC-SHA256 of a fresh nonce under the secret is {}…, as computed here: \
         the server holds it\n",
        answer.get(..16).unwrap_or(answer)
    ))
}

async fn health(client: &Client) -> Result<(), Failure> {
    let request = runtime::CheckHealthRequest {
        connector: CONNECTOR.to_owned(),
        min_revision: 0,
    };
    let answer = client
        .sessions()
        .check_health(client.request(request))
        .await?
        .into_inner();
    if !answer.healthy {
        return Err(anyhow!("the demo server failed its health check: {}", answer.reason).into());
    }
    say(&format!(
        "7. its health is watched; a probe just now took {}\n",
        milliseconds(answer.latency.as_ref())
    ))
}

/// Lines to copy: the same calls by hand.
pub(crate) fn try_yourself(folder: &DataFolder, addresses: &Addresses, program: &Path) -> String {
    let token = folder.token(names::access::Role::Caller);
    let header = format!(
        "-H \"authorization: Bearer $(cat {})\"",
        shell_word(&token.to_string_lossy())
    );
    let Addresses {
        registry,
        vault: _,
        runtime,
    } = addresses;
    let data_dir = shell_word(&folder.path().to_string_lossy());
    let program = shell_word(&program.to_string_lossy());
    format!(
        "\nTry it yourself, from another terminal:\n\n\
         grpcurl -plaintext {header} \\\n  \
         -d '{{\"parent\":\"{SCOPE}\"}}' {registry} patchbay.registry.v1.ConnectorService/ListConnectors\n\n\
         grpcurl -plaintext {header} \\\n  \
         -d '{{\"connector\":\"{CONNECTOR}\",\"tool\":\"add\",\"arguments_json\":\"{{\\\"a\\\":1,\\\"b\\\":2}}\"}}' \\\n  \
         {runtime} patchbay.runtime.v1.ToolService/CallTool\n\n\
         grpcurl -plaintext {header} \\\n  \
         -d '{{\"connector\":\"{CONNECTOR}\"}}' {runtime} patchbay.runtime.v1.SessionService/GetSession\n\n\
         {program} --data-dir {data_dir} tool call {CONNECTOR} echo --args '{{\"text\":\"hi\"}}'\n\n"
    )
}

/// The text as one word of a shell's command line.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_copy_carry_the_token_and_the_addresses() {
        let folder = DataFolder::at(Path::new("/tmp/my data"));
        let addresses = Addresses {
            registry: "127.0.0.1:7401".parse().unwrap(),
            vault: "127.0.0.1:7402".parse().unwrap(),
            runtime: "127.0.0.1:7403".parse().unwrap(),
        };
        let text = try_yourself(&folder, &addresses, Path::new("/bin/patchbay"));
        assert!(
            text.contains("Bearer $(cat '/tmp/my data/tokens/caller')"),
            "{text}"
        );
        assert!(
            text.contains("127.0.0.1:7401 patchbay.registry.v1.ConnectorService/"),
            "{text}"
        );
        assert!(
            text.contains(r#""arguments_json":"{\"a\":1,\"b\":2}""#),
            "{text}"
        );
        assert!(!text.contains("7402"), "the vault is not for callers");
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(shell_word("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("$(x)"), "'$(x)'");
    }
}
