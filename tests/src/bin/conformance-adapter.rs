//! What the official conformance suite runs as "the client": it connects the suite's mock server through Patchbay, lists
//! its tools in the registry and calls each through the runtime. Any failure is a non-zero exit; so is 25 s.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use contracts::registry::v1::Tool;
use integration_tests::{Addresses, Clients, Connected, Connection, State, note, text_of};
use serde_json::{Map, Value, json};

/// The suite kills only the shell that starts us, so we need a limit of our own, below its 30 s.
const LIMIT: Duration = Duration::from_secs(25);

#[derive(Parser)]
struct Arguments {
    #[arg(long, env = "PATCHBAY_TEST_REGISTRY")]
    registry: SocketAddr,
    #[arg(long, env = "PATCHBAY_TEST_RUNTIME")]
    runtime: SocketAddr,
    #[arg(long, env = "PATCHBAY_TEST_TOKEN", hide_env_values = true)]
    token: String,
    /// Some scenarios say which calls they want.
    #[arg(long, env = "MCP_CONFORMANCE_CONTEXT", default_value = "{}")]
    context: String,
    /// The mock server.
    url: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match tokio::time::timeout(LIMIT, run(&arguments)).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(says)) => {
            note(&says);
            ExitCode::FAILURE
        }
        Err(_) => {
            note(&format!("not done after {LIMIT:?}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), String> {
    let Arguments {
        registry,
        runtime,
        token,
        context,
        url,
    } = arguments;
    // The vault is not spoken to.
    let addresses = Addresses {
        registry: *registry,
        vault: *registry,
        runtime: *runtime,
    };
    let clients = Clients::new(addresses, Some(token));
    let scope = format!("users/conformance-{}", std::process::id());
    let created = clients.create(&scope, Connection::http(url)).await;
    let connector = created.map_err(|status| text_of(&status))?;
    clients.wait_for(&connector, State::Ready).await;
    let tools = clients.tools_of(&connector).await;
    note(&format!("{} tools", tools.len()));
    for (tool, text) in calls(context, &tools)? {
        call(&clients, &connector, &tool, &text).await?;
    }
    clients.delete(&connector).await;
    Ok(())
}

async fn call(
    clients: &Clients,
    connector: &Connected,
    tool: &str,
    arguments: &str,
) -> Result<(), String> {
    let answer = clients.call(connector, tool, arguments).await;
    let answer = answer.map_err(|status| format!("{tool}: {}", text_of(&status)))?;
    note(&format!("{tool}: {}", answer.result_json));
    if answer.is_error {
        Err(format!("{tool} reports an error"))
    } else {
        Ok(())
    }
}

/// The calls that the scenario asks for, else one for each tool with whatever its schema requires.
fn calls(context: &str, tools: &[Tool]) -> Result<Vec<(String, String)>, String> {
    let context: Value = serde_json::from_str(context).map_err(|error| error.to_string())?;
    if let Some(calls) = context.get("toolCalls").and_then(Value::as_array) {
        let call = |call: &Value| {
            let name = call.get("name")?.as_str()?.to_owned();
            Some((name, call.get("arguments")?.to_string()))
        };
        return calls
            .iter()
            .map(|one| call(one).ok_or(format!("bad call: {one}")))
            .collect();
    }
    let call = |tool: &Tool| {
        let definition: Value = serde_json::from_str(&tool.definition_json).unwrap_or_default();
        let schema = definition.get("inputSchema").cloned().unwrap_or_default();
        (tool.tool_name.clone(), required(&schema).to_string())
    };
    Ok(tools.iter().map(call).collect())
}

fn required(schema: &Value) -> Value {
    let names = schema
        .get("required")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let property = |name: &Value| {
        let name = name.as_str()?;
        let about = schema.get("properties").and_then(|all| all.get(name));
        Some((name.to_owned(), value_for(about.unwrap_or(&Value::Null))))
    };
    Value::Object(names.iter().filter_map(property).collect::<Map<_, _>>())
}

fn value_for(about: &Value) -> Value {
    let choices = about
        .get("enum")
        .and_then(Value::as_array)
        .and_then(|all| all.first());
    if let Some(given) = about.get("default").or(choices) {
        return given.clone();
    }
    match about
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "integer" | "number" => json!(5),
        "boolean" => json!(true),
        "array" => json!([]),
        "object" => json!({}),
        "null" => Value::Null,
        _ => json!("text"),
    }
}
