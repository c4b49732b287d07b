//! `ToolService`.

use std::sync::Arc;

use contracts::runtime::v1 as pb;
use pb::tool_service_server::ToolService;
use rpc::{Caller, Limit, error::RichError};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{MARGIN, connector_name},
    status,
};
use crate::{
    calls::{About, Call, Calls, Naming},
    invocations::Completed,
};

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
        let call = call(caller, message)?;
        let about = Arc::clone(&call.about);
        let completed = self.calls.call(call).await;
        let completed = completed.map_err(|failure| status::call(&failure, &about))?;
        // Nobody else holds the result of a call without an id of its caller's: then nothing is copied.
        let Completed {
            result,
            is_error,
            definition_hash,
        } = Arc::unwrap_or_clone(completed);
        let result = result.ok_or_else(|| status::result_too_large(&about))?;
        Ok(Response::new(pb::CallToolResponse {
            result_json: String::from_utf8(result.into())
                .map_err(|_| status::result_not_text(&about))?,
            is_error,
            invocation_id: about.id.to_string(),
            definition_hash,
        }))
    }
}

/// Reads a request.
fn call(caller: Caller, message: pb::CallToolRequest) -> Result<Call, RichError> {
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
    let about = About {
        id: invocation_id.unwrap_or_else(Uuid::now_v7),
        connector: connector_name(&connector)?,
        tool,
        subject: caller.principal.to_string(),
    };
    Ok(Call {
        about: Arc::new(about),
        naming: match invocation_id {
            Some(_) => Naming::ByCaller,
            None => Naming::ByUs,
        },
        arguments: if arguments_json.is_empty() {
            "{}".to_owned()
        } else {
            arguments_json
        },
        expected_definition_hash: Some(expected_definition_hash).filter(|hash| !hash.is_empty()),
        min_revision,
        deadline: match caller.deadline.limit() {
            // Without a deadline of the caller's, the connector's own limit holds.
            Limit::Default => None,
            Limit::Caller | Limit::Maximum | Limit::StreamAge => {
                Some(caller.deadline.at() - MARGIN)
            }
        },
        draining: caller.draining,
    })
}
