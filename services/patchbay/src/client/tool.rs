//! `patchbay tool …` and `patchbay sync`.

use contracts::registry::v1 as registry;
use contracts::runtime::v1 as runtime;
use names::ConnectorName;

use crate::cli::{Output, ToolCommand};
use crate::client::Client;
use crate::client::print::count;
use crate::client::table::{Table, fields, printable};
use crate::client::value::read_arguments;
use crate::failure::Failure;

/// Runs one of the commands.
pub(crate) async fn run(client: &Client, command: ToolCommand) -> Result<(), Failure> {
    match command {
        ToolCommand::List { connector } => list(client, &connector).await,
        ToolCommand::Call {
            connector,
            tool,
            args,
            invocation_id,
        } => {
            let arguments_json = read_arguments(args.as_deref(), &mut std::io::stdin().lock())?;
            let request = runtime::CallToolRequest {
                connector: connector.to_string(),
                tool,
                arguments_json,
                invocation_id: invocation_id.unwrap_or_else(uuid::Uuid::new_v4).to_string(),
                ..Default::default()
            };
            call(client, request).await
        }
    }
}

async fn list(client: &Client, connector: &ConnectorName) -> Result<(), Failure> {
    let view = match client.printer().output() {
        Output::Table => registry::ToolView::Basic,
        Output::Json => registry::ToolView::Full,
    };
    let mut all = registry::ListToolsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = registry::ListToolsRequest {
            parent: connector.to_string(),
            page_size: 1000,
            page_token,
            view: view.into(),
        };
        let page = client
            .registry()
            .list_tools(client.request(request))
            .await?
            .into_inner();
        all.tools.extend(page.tools);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    client
        .printer()
        .answer("patchbay.registry.v1.ListToolsResponse", &all, |all| {
            let mut table = Table::new(["TOOL", "DESCRIPTION"]);
            for tool in &all.tools {
                let description = tool.description.lines().next().unwrap_or_default();
                table.row([tool.tool_name.clone(), description.to_owned()]);
            }
            table.render()
        })
}

async fn call(client: &Client, request: runtime::CallToolRequest) -> Result<(), Failure> {
    let answer = client
        .tools()
        .call_tool(client.request(request))
        .await?
        .into_inner();
    let name = "patchbay.runtime.v1.CallToolResponse";
    client
        .printer()
        .answer(name, &answer, |answer| result_text(&answer.result_json))?;
    if answer.is_error {
        Err(Failure::Negative)
    } else {
        Ok(())
    }
}

/// Reads the tools from the server now.
pub(crate) async fn sync(client: &Client, connector: &ConnectorName) -> Result<(), Failure> {
    let request = runtime::SyncConnectorRequest {
        connector: connector.to_string(),
        min_revision: 0,
    };
    let answer = client
        .sessions()
        .sync_connector(client.request(request))
        .await?
        .into_inner();
    client.printer().answer(
        "patchbay.runtime.v1.SyncConnectorResponse",
        &answer,
        |answer| {
            let mut text = fields([
                ("tools", answer.tool_count.to_string()),
                ("changed", count(answer.changed_count)),
                ("gone", count(answer.removed_count)),
            ]);
            if !answer.left_out.is_empty() {
                let mut table = Table::new(["LEFT OUT", "REASON"]);
                for tool in &answer.left_out {
                    table.row([tool.tool_name.clone(), tool.reason.clone()]);
                }
                text.push('\n');
                text.push_str(&table.render());
            }
            text
        },
    )
}

/// A tool's result for people: its texts as they are, of everything else what it is.
pub(crate) fn result_text(result_json: &str) -> String {
    let Ok(result) = serde_json::from_str::<serde_json::Value>(result_json) else {
        return format!("{}\n", printable(result_json));
    };
    let content = result.get("content").and_then(|content| content.as_array());
    let mut lines: Vec<String> = content.into_iter().flatten().map(block_text).collect();
    if let Some(structured) = result.get("structuredContent")
        && lines.is_empty()
    {
        lines.push(serde_json::to_string_pretty(structured).unwrap_or_default());
    }
    if lines.is_empty() {
        lines.push(result_json.to_owned());
    }
    format!("{}\n", printable(&lines.join("\n")))
}

fn block_text(block: &serde_json::Value) -> String {
    let text = |field: &str| {
        block
            .get(field)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
    };
    match text("type") {
        "text" => text("text").to_owned(),
        kind @ ("image" | "audio") => {
            let size = text("data").len() / 4 * 3;
            format!(
                "[{kind}, {}, about {size} bytes; --output json has it]",
                text("mimeType")
            )
        }
        "resource_link" => format!("[resource {} {}]", text("name"), text("uri")),
        "resource" => {
            let resource = block.get("resource");
            let field = |field: &str| {
                resource
                    .and_then(|resource| resource.get(field))
                    .and_then(|value| value.as_str())
            };
            match field("text") {
                Some(text) => text.to_owned(),
                None => format!(
                    "[resource {}; --output json has it]",
                    field("uri").unwrap_or_default()
                ),
            }
        }
        _ => block.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_printed_as_they_are() {
        let result = r#"{"content":[{"type":"text","text":"a\nb"},{"type":"text","text":"c"}]}"#;
        assert_eq!(result_text(result), "a\nb\nc\n");
    }

    #[test]
    fn what_is_no_text_is_told() {
        let result = r#"{"content":[{"type":"image","mimeType":"image/png","data":"AAAA"},
            {"type":"resource_link","name":"n","uri":"file:///a"},
            {"type":"resource","resource":{"uri":"file:///b","text":"inside"}},
            {"type":"new","x":1}]}"#;
        let text = result_text(result);
        assert!(text.contains("[image, image/png, about 3 bytes"), "{text}");
        assert!(text.contains("[resource n file:///a]"), "{text}");
        assert!(text.contains("inside"), "{text}");
        assert!(text.contains(r#"{"type":"new","x":1}"#), "{text}");
    }

    #[test]
    fn structured_content_stands_in_for_missing_text() {
        let result = r#"{"content":[],"structuredContent":{"a":1}}"#;
        assert_eq!(result_text(result), "{\n  \"a\": 1\n}\n");
        let both = r#"{"content":[{"type":"text","text":"t"}],"structuredContent":{"a":1}}"#;
        assert_eq!(result_text(both), "t\n");
    }

    #[test]
    fn a_result_cannot_drive_the_terminal() {
        let result = r#"{"content":[{"type":"text","text":"\u001b]0;owned\u0007"}]}"#;
        assert!(!result_text(result).contains('\u{1b}'));
        assert_eq!(result_text("not json"), "not json\n");
    }
}
