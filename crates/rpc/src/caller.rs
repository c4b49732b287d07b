//! The caller of the RPC being served, and the only way to the scopes inside its message.
//!
//! The invariant: a handler gets its message through [`authorise`], after every scope the message
//! names was checked, and before anything was looked up. A foreign name is answered exactly like a
//! missing one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use identity::{Denial, Principal};
use lifecycle::CancellationToken;
use names::{
    ScopeSelector,
    access::{MethodRule, ScopeSource, ScopedRequest},
};
use tonic::{Request, Status};

use crate::{
    Deadline,
    error::{RichError, denied},
};

/// Who calls, until when the answer is wanted, and whether the server is going away.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The authenticated caller.
    pub principal: Arc<Principal>,
    /// The rule under which it was let in.
    pub rule: &'static MethodRule,
    /// The call's deadline. Calls to peers made by the handler keep it by themselves.
    pub deadline: Deadline,
    /// Cancelled when the server drains: streams should end, with a resume point if they have one.
    pub draining: CancellationToken,
}

/// Takes the message out of a request after checking every scope it names.
///
/// # Errors
/// NOT_FOUND for a foreign resource name, PERMISSION_DENIED for a foreign parent or a missing
/// verb, INVALID_ARGUMENT for a name that is none.
pub fn authorise<M: ScopedRequest>(request: Request<M>) -> Result<(Caller, M), Status> {
    let caller = caller(&request)?;
    let message = caller.authorise(request.into_inner())?;
    Ok((caller, message))
}

/// The caller of a client-streaming request, each of whose messages then has to pass
/// [`Caller::authorise`].
///
/// # Errors
/// INTERNAL if the request did not come through the authentication layer.
pub fn caller<M>(request: &Request<M>) -> Result<Caller, Status> {
    if let Some(reached) = request.extensions().get::<Reached>() {
        reached.0.store(true, Ordering::Relaxed);
    }
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| RichError::internal(&NotAuthenticated).into())
}

/// In a request's extensions: whether a handler has taken it, which it can only if it was readable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached(Arc<AtomicBool>);

impl Reached {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Caller {
    /// Checks every scope that one message names.
    ///
    /// # Errors
    /// As [`authorise`].
    pub fn authorise<M: ScopedRequest>(&self, message: M) -> Result<M, Status> {
        let rule = &M::RULE;
        if rule.path != self.rule.path {
            return Err(RichError::internal(&WrongRule {
                expected: rule.path,
            })
            .into());
        }
        let mut checked = 0_usize;
        let mut refusal = None;
        message.visit_scopes(&mut |field, text| {
            checked += 1;
            if refusal.is_none() {
                refusal = self.refuse(rule, field, text);
            }
        });
        if let Some(refusal) = refusal {
            return Err(refusal.into());
        }
        // A message that could name a scope and names none asks for everything.
        let asks_for_all = checked == 0 && rule.scope != ScopeSource::None;
        if asks_for_all && !self.principal.is_service_for(rule) {
            let subject = self.principal.subject.clone();
            let scope = "every scope".to_owned();
            return Err(denied(&Denial::ScopeNotAllowed { subject, scope }).into());
        }
        Ok(message)
    }

    fn refuse(&self, rule: &MethodRule, field: &str, text: &str) -> Option<RichError> {
        let selector = match scope_of(text) {
            Ok(selector) => selector,
            Err(problem) => return Some(RichError::invalid_field(field, problem)),
        };
        let denial = self.principal.check_scope(rule, &selector).err()?;
        Some(match (&denial, rule.scope) {
            (
                Denial::ScopeNotAllowed { .. },
                ScopeSource::Name {
                    reason,
                    resource_type,
                },
            ) => RichError::not_found(reason, resource_type, text),
            (_, ScopeSource::Name { .. } | ScopeSource::Parent | ScopeSource::None) => {
                denied(&denial)
            }
        })
    }
}

/// The scope at the front of a resource name, a parent, or a scope wildcard.
fn scope_of(text: &str) -> Result<ScopeSelector, String> {
    let segments = if text == "system" || text.starts_with("system/") {
        1
    } else {
        2
    };
    let end = text
        .match_indices('/')
        .nth(segments - 1)
        .map_or(text.len(), |(at, _)| at);
    text[..end]
        .parse()
        .map_err(|error: names::InvalidName| error.to_string())
}

#[derive(Debug, thiserror::Error)]
#[error("a handler was reached without the authentication layer")]
struct NotAuthenticated;

#[derive(Debug, thiserror::Error)]
#[error("the handler of {expected} was reached by another path")]
struct WrongRule {
    expected: &'static str,
}

#[cfg(test)]
mod tests;
