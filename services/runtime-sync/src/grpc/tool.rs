//! `ToolService`.

use contracts::runtime::v1 as pb;
use pb::tool_service_server::ToolService;
use rpc::{Caller, Limit, error::RichError};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{MARGIN, connector_name},
    status,
};
use crate::calls::{Call, Calls};

/// The longest name of a tool, in bytes.
const MAX_TOOL: usize = 256;

/// The handlers of `ToolService`.
#[derive(Debug)]
pub(crate) struct ToolHandlers {
    pub(crate) calls: Calls,
}

#[tonic::async_trait]
impl ToolService for ToolHandlers {
    async fn call_tool(
        &self,
        request: Request<pb::CallToolRequest>,
    ) -> Result<Response<pb::CallToolResponse>, Status> {
        let (caller, message) = rpc::authorise(request)?;
        let call = call(&caller, message)?;
        let (connector, tool) = (call.connector.clone(), call.tool.clone());
        let id = call.invocation_id.unwrap_or_else(Uuid::now_v7);
        let completed = self
            .calls
            .call(id, call)
            .await
            .map_err(|failure| status::call(&failure, &connector, &tool, id))?;
        let result = completed.result.clone();
        let result = result.ok_or_else(|| status::result_too_large(&connector, id))?;
        Ok(Response::new(pb::CallToolResponse {
            result_json: String::from_utf8(result.into())
                .map_err(|_| status::result_not_text(&connector, id))?,
            is_error: completed.is_error,
            invocation_id: id.to_string(),
            definition_hash: completed.definition_hash.clone(),
        }))
    }
}

/// Reads a request.
fn call(caller: &Caller, message: pb::CallToolRequest) -> Result<Call, RichError> {
    let pb::CallToolRequest {
        connector,
        tool,
        arguments_json,
        invocation_id,
        expected_definition_hash,
        min_revision,
    } = message;
    if tool.is_empty() || tool.len() > MAX_TOOL {
        let problem = "must be the tool's name, 1 to 256 bytes";
        return Err(RichError::invalid_field("tool", problem));
    }
    let invocation_id = match invocation_id.as_str() {
        "" => None,
        id => Some(Uuid::try_parse(id).map_err(|_| {
            RichError::invalid_field("invocation_id", "must be a UUID of the caller's")
        })?),
    };
    Ok(Call {
        connector: connector_name(&connector)?,
        tool,
        arguments: if arguments_json.is_empty() {
            "{}".to_owned()
        } else {
            arguments_json
        },
        invocation_id,
        expected_definition_hash: Some(expected_definition_hash).filter(|hash| !hash.is_empty()),
        min_revision,
        deadline: match caller.deadline.limit() {
            // Without a deadline of the caller's, the connector's own limit holds.
            Limit::Default => None,
            Limit::Caller | Limit::Maximum | Limit::StreamAge => {
                Some(caller.deadline.at() - MARGIN)
            }
        },
        subject: caller.principal.to_string(),
    })
}
