//! What to do next, for every reason a service can give. Sentences, and commands to copy.
//!
//! Not here: the reasons' meaning, which stands in the error's own message.

use std::io::{Error as Io, ErrorKind};

use tonic::Code;

use crate::data_folder::DataFolderError;

/// What to do about a refusal; by its reason, else by its code.
pub(super) fn refused(code: Code, reason: &str) -> Option<&'static str> {
    by_reason(reason).or_else(|| by_code(code))
}

fn by_reason(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "CONNECTOR_NOT_FOUND" => "`patchbay connector list SCOPE` shows which connectors there are",
        "TOOL_NOT_FOUND" => {
            "`patchbay tool list CONNECTOR` shows its tools; `patchbay sync CONNECTOR` reads them again"
        }
        "CONNECTOR_EXISTS" => {
            "choose another name, or delete that one with `patchbay connector rm NAME`"
        }
        "CONNECTOR_DISABLED" => "switch it on with `patchbay connector enable CONNECTOR`",
        "CONNECTOR_UNREACHABLE" | "CONNECTOR_MISCONFIGURED" | "SYNC_FAILED" => {
            "`patchbay session get CONNECTOR` shows what is wrong with it"
        }
        "AUTH_REQUIRED" => {
            "the server wants other credentials: add the connector again with --secret-header or --secret-env"
        }
        "SECRET_NEEDS_REBIND" => {
            "the connector's destination changed, and its secrets stay bound to the old one: enter them again"
        }
        "ARGUMENTS_INVALID" => {
            "`patchbay --output json tool list CONNECTOR` shows what the tool takes"
        }
        "POLICY_DENIED" => {
            "the installation's policy forbids this URL or command; `patchbay up` alone allows programs and \
             loopback addresses"
        }
        "QUOTA_EXCEEDED" => "delete a connector with `patchbay connector rm NAME` first",
        "OUTCOME_UNKNOWN" => "ask again with the same --invocation-id: the call is not sent twice",
        "INVOCATION_ID_REUSED" => "use a new --invocation-id for another call",
        "RESUME_TOKEN_EXPIRED" | "STREAM_EXPIRED" | "WATCHER_TOO_SLOW" => "start the watch again",
        "ETAG_MISMATCH" | "DEFINITION_CHANGED" => {
            "somebody changed it meanwhile: read it again and retry"
        }
        "SCOPE_NOT_ALLOWED" | "VERB_NOT_ALLOWED" | "ROLE_NOT_ALLOWED" => {
            "the token does not allow this; --token-file names another, for example tokens/operator in the \
             data folder"
        }
        "UNAUTHENTICATED" => "the token is not one of this suite: check --data-dir or --token-file",
        "REGISTRY_STALE" | "VAULT_UNAVAILABLE" | "DATABASE_UNAVAILABLE" => {
            "a part of the suite cannot be reached; its log says more. Try again"
        }
        "OVERLOADED" | "TOO_MANY_CALLS" | "UPSTREAM_RATE_LIMITED" | "SHUTTING_DOWN" => {
            "try again a little later"
        }
        "RESULT_TOO_LARGE" => "the call was made; ask the tool for less",
        "PEER_UNAVAILABLE" => "is the suite running? `patchbay up` starts it",
        "INTERNAL" => "this is a bug of ours: report it with the trace id and the service's log",
        _ => return None,
    })
}

fn by_code(code: Code) -> Option<&'static str> {
    match code {
        Code::Unavailable => Some("is the suite running? `patchbay up` starts it"),
        Code::Unauthenticated => Some("check --data-dir or --token-file"),
        Code::DeadlineExceeded => Some("give it longer with --timeout SECONDS"),
        Code::Unimplemented => {
            Some("the service is older than this program, or another one answers there")
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => None,
    }
}

/// What to do about a wrong configuration.
pub(super) fn configuration(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<rpc::client::ConnectError>() {
        return Some(
            "give the addresses as HOST:PORT and the token's file with --token-file, or name the folder of a \
             running suite with --data-dir",
        );
    }
    if error.is::<telemetry::InitError>() {
        return Some("--log takes filters such as `info` or `warn,runtime_sync=debug`");
    }
    match error.downcast_ref::<DataFolderError>() {
        Some(DataFolderError::NoSuite(_)) => Some(
            "start one with `patchbay up`, name its folder with --data-dir, or give --registry, --runtime \
             and --token-file",
        ),
        Some(DataFolderError::InUse { .. }) => {
            Some("stop that one, or give another folder with --data-dir")
        }
        Some(DataFolderError::Malformed { .. }) => Some("start `patchbay up` again"),
        Some(DataFolderError::NotOurs(_)) => {
            Some("--data-dir names a folder that is made if it does not exist")
        }
        Some(DataFolderError::Io { .. }) | None => local(error),
    }
}

/// What to do about a failure of this machine: by what the system says, else by what SQLite says.
pub(super) fn local(error: &anyhow::Error) -> Option<&'static str> {
    by_system(error).or_else(|| by_text(&format!("{error:#}")))
}

fn by_system(error: &anyhow::Error) -> Option<&'static str> {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<Io>())?;
    Some(match io.kind() {
        ErrorKind::AddrInUse => {
            "something else listens there: stop it, or give other addresses with --registry-listen, \
             --vault-listen and --runtime-listen (port 0 lets the system choose)"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: 127.0.0.1 serves this machine, 0.0.0.0 every network"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FULL,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "give a place that this user may write to, for example another folder with --data-dir"
        }
        ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "check the path; --data-dir names a folder, which is made if it does not exist"
        }
        _ => return None,
    })
}

const FULL: &str = "make room on the disk, or give a folder on another one with --data-dir";

fn by_text(text: &str) -> Option<&'static str> {
    let hints = [
        ("disk is full", FULL),
        (
            "readonly database",
            "give a place that this user may write to, for example another folder with --data-dir",
        ),
        (
            "not a database",
            "the file is damaged: put a backup of the whole data folder back, or start with a new folder",
        ),
        (
            "malformed",
            "the file is damaged: put a backup of the whole data folder back, or start with a new folder",
        ),
        (
            "key file",
            "put the key file of this data folder back, readable by its owner alone (chmod 600); without it \
             secrets cannot be read, and only a new data folder helps",
        ),
    ];
    let found = hints.iter().find(|(part, _)| text.contains(part));
    found.map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use rpc::error::ErrorReason as _;

    use super::*;

    /// Reasons that need no hint: their messages and field violations say it all.
    const SELF_EXPLAINING: [&str; 12] = [
        "UNSPECIFIED",
        "FIELD_INVALID",
        "PAGE_TOKEN_INVALID",
        "METHOD_UNKNOWN",
        "REQUEST_ID_REUSED",
        "MESSAGE_TOO_LARGE",
        "LEASE_LOST",
        "LEASE_HELD",
        "SECRET_UNREADABLE",
        "CALL_CANCELLED",
        "UPSTREAM_ERROR",
        "DEADLINE_EXCEEDED",
    ];

    #[test]
    fn every_reason_that_a_client_can_meet_says_what_to_do() {
        let of_any_method = rpc::error::Reason::ALL
            .iter()
            .map(|reason| reason.as_str().to_owned());
        let mut reasons: Vec<String> = of_any_method.collect();
        let pool = prost_reflect::DescriptorPool::decode(contracts::FILE_DESCRIPTOR_SET).unwrap();
        for package in ["registry", "runtime"] {
            let name = format!("patchbay.{package}.v1.ErrorReason");
            for value in pool.get_enum_by_name(&name).unwrap().values() {
                reasons.push(value.name().trim_start_matches("ERROR_REASON_").to_owned());
            }
        }
        for reason in reasons {
            let known = by_reason(&reason).is_some() || SELF_EXPLAINING.contains(&reason.as_str());
            assert!(known, "{reason} has no hint");
        }
    }
}
