//! Reading: one connector, pages of connectors and tools, the facts about a scope. Nothing is changed here.

use names::{ConnectorName, ScopeName};

use super::{Registry, Shown};
use crate::{
    domain::{
        filter::Filter,
        order::{Cursor, Order},
        spec::{FieldValue, Spec, Transport},
    },
    error::{Error, Result},
    store::{ListQuery, Selection, ToolCursor, ToolDetail, ToolRow, ToolScope},
};

/// A page stops when it holds about this much, so that it fits into a message.
const PAGE_BYTES: usize = 3 * 1024 * 1024;
/// What a connector takes beside its texts: names, times, counters.
const OVERHEAD: usize = 2 * 1024;
/// Rows read at a time, so that a page of large ones is never read far beyond its end.
const STEP: u64 = 50;
/// The same for tools: a definition may have 256 KiB.
const TOOL_STEP: u64 = 16;

/// A page of connectors to read.
#[derive(Debug)]
pub struct ListRequest {
    /// Of which scopes.
    pub selection: Selection,
    /// Which of them.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// After which one.
    pub after: Option<Cursor>,
    /// How many at most.
    pub limit: u32,
}

/// A page of connectors.
#[derive(Debug)]
pub struct ConnectorPage {
    /// The connectors.
    pub connectors: Vec<Shown>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// A page of tools to read.
#[derive(Debug)]
pub struct ToolRequest {
    /// Whose tools.
    pub of: ToolScope,
    /// How much of each.
    pub detail: ToolDetail,
    /// After which one.
    pub after: Option<ToolCursor>,
    /// How many at most.
    pub limit: u32,
}

/// A page of tools.
#[derive(Debug)]
pub struct ToolPage {
    /// The tools.
    pub tools: Vec<ToolRow>,
    /// Where to go on; `None` at the end.
    pub next: Option<ToolCursor>,
}

/// What a scope may have and what it has.
#[derive(Debug)]
pub struct ScopeFacts {
    /// The scope.
    pub name: ScopeName,
    /// How many connectors it may have; `None` for no limit.
    pub quota: Option<u32>,
    /// How many count towards the quota.
    pub used: u64,
    /// Whether it may run any command.
    pub stdio: bool,
    /// Whether it may use `http` beside `https`.
    pub plain_http: bool,
    /// Whether it may reach this machine and private networks.
    pub private: bool,
}

impl Registry {
    /// One connector.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, name: &ConnectorName) -> Result<Shown> {
        let connector = self.store.get(name).await.map_err(Error::about(name))?;
        self.show(connector).await
    }

    /// A page of connectors.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list(&self, request: ListRequest) -> Result<ConnectorPage> {
        let ListRequest {
            selection,
            filter,
            order,
            mut after,
            limit,
        } = request;
        let lease = self.lease().await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut connectors = Vec::new();
        let mut bytes = 0;
        loop {
            let query = ListQuery {
                selection: &selection,
                filter: &filter,
                order,
                after: after.as_ref(),
                // One more than is wanted tells whether there is another page.
                limit: STEP.min((limit - connectors.len()) as u64 + 1),
            };
            let wanted = query.limit;
            let rows = self.store.list(query).await?;
            let is_last = (rows.len() as u64) < wanted;
            for connector in rows {
                if connectors.len() == limit || (bytes >= PAGE_BYTES && !connectors.is_empty()) {
                    return Ok(ConnectorPage {
                        connectors,
                        next: after,
                    });
                }
                bytes += size(&connector.spec);
                after = Some(Cursor::after(&connector, order));
                connectors.push(self.show_with(connector, lease.as_ref()));
            }
            if is_last {
                return Ok(ConnectorPage {
                    connectors,
                    next: None,
                });
            }
        }
    }

    /// A page of tools.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tools(&self, request: ToolRequest) -> Result<ToolPage> {
        let ToolRequest {
            of,
            detail,
            mut after,
            limit,
        } = request;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut tools: Vec<ToolRow> = Vec::new();
        let mut bytes = 0;
        loop {
            let rows = self
                .store
                .tools(&of, detail, after.as_ref(), TOOL_STEP)
                .await
                .map_err(|error| match &of {
                    ToolScope::Connector(name) => Error::about(name)(error),
                    ToolScope::Scope(_) => error.into(),
                })?;
            if rows.is_empty() {
                return Ok(ToolPage { tools, next: None });
            }
            for row in rows {
                if tools.len() == limit || (bytes >= PAGE_BYTES && !tools.is_empty()) {
                    return Ok(ToolPage { tools, next: after });
                }
                bytes += row.json.len() + row.description.len() + OVERHEAD / 4;
                after = Some(ToolCursor {
                    connector_id: row.connector.id().to_string(),
                    position: row.position,
                });
                tools.push(row);
            }
        }
    }

    /// What a scope may have and what it has.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn scope(&self, name: ScopeName) -> Result<ScopeFacts> {
        let used = self.store.count(&name).await?;
        let rules = self.settings.policy.rules((&name).into());
        Ok(ScopeFacts {
            quota: self.settings.quotas.limit(name.kind()),
            used,
            stdio: rules.commands != policy::Commands::None,
            plain_http: rules.plain_http,
            private: rules.private && rules.loopback,
            name,
        })
    }
}

/// About how many bytes a connector takes in a message.
pub(super) fn size(spec: &Spec) -> usize {
    let labels: usize = spec
        .labels
        .iter()
        .map(|(key, value)| key.len() + value.len() + 8)
        .sum();
    let own = match &spec.transport {
        Transport::Stdio(stdio) => {
            stdio.command.len()
                + stdio.working_directory.len()
                + stdio
                    .arguments
                    .iter()
                    .map(|argument| argument.len() + 4)
                    .sum::<usize>()
        }
        Transport::StreamableHttp(http) => http.url.len(),
        Transport::Unknown => 0,
    };
    let (_, fields) = spec.transport.fields();
    let fields: usize = fields
        .iter()
        .map(|field| match &field.value {
            FieldValue::Plain(value) => field.name.len() + field.prefix.len() + value.len() + 16,
            // A secret is told a second time, with its fingerprint.
            FieldValue::Secret => 2 * field.name.len() + field.prefix.len() + 96,
        })
        .sum();
    OVERHEAD
        + labels
        + own
        + fields
        + spec.display_name.len()
        + spec.description.len()
        + spec.icon_uri.len()
}
