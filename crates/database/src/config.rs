//! Which database, and how to use it. A URL prints without its password and its options.
//!
//! Not here: reading the environment (each service's `config.rs` takes a [`DatabaseUrl`] through clap).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

/// The kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// A file, embedded.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// Where a database is: `sqlite://<path>` (absolute or relative to the working folder) or `postgres://…`.
///
/// `Display` and `Debug` leave out the password and every option, some of which can hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub(crate) Location);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Sqlite(PathBuf),
    Postgres(Box<Url>),
}

/// Why a text is not a database URL. Never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Neither of the two schemes.
    #[error("a database URL starts with sqlite:// or postgres://")]
    Scheme,
    /// `sqlite://` without a path, or with options.
    #[error("a SQLite URL is sqlite:// followed by the path of a file, without options")]
    SqlitePath,
    /// An in-memory database would lose everything at the end of a connection.
    #[error("an in-memory SQLite database is not supported; name a file")]
    InMemory,
    /// A PostgreSQL URL that does not parse or names no host or database.
    #[error("a PostgreSQL URL is postgres://user:password@host:port/database")]
    Postgres,
}

impl DatabaseUrl {
    /// The URL of a SQLite file.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Location::Sqlite(path.into()))
    }

    /// The kind of database that the URL names.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.0 {
            Location::Sqlite(_) => Engine::Sqlite,
            Location::Postgres(_) => Engine::Postgres,
        }
    }

    /// The file of a SQLite database.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Location::Sqlite(path) => Some(path),
            Location::Postgres(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return parse_sqlite(path);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return parse_postgres(text);
        }
        Err(DatabaseUrlError::Scheme)
    }
}

fn parse_sqlite(path: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    if path.is_empty() || path.contains(['?', '#']) {
        return Err(DatabaseUrlError::SqlitePath);
    }
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| DatabaseUrlError::SqlitePath)?;
    if path.contains(":memory:") {
        return Err(DatabaseUrlError::InMemory);
    }
    Ok(DatabaseUrl::sqlite(path.as_ref()))
}

fn parse_postgres(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    let url = Url::parse(text).map_err(|_| DatabaseUrlError::Postgres)?;
    let socket = url.query_pairs().any(|(key, _)| key == "host");
    if url.host_str().is_none_or(str::is_empty) && !socket {
        return Err(DatabaseUrlError::Postgres);
    }
    Ok(DatabaseUrl(Location::Postgres(Box::new(url))))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Location::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Location::Postgres(url) => {
                let (user, host) = (url.username(), url.host_str().unwrap_or_default());
                let password = if url.password().is_some() { ":***" } else { "" };
                let at = if user.is_empty() && password.is_empty() {
                    ""
                } else {
                    "@"
                };
                let port = url
                    .port()
                    .map(|port| format!(":{port}"))
                    .unwrap_or_default();
                let options = if url.query().is_some() { "?***" } else { "" };
                write!(
                    f,
                    "postgres://{user}{password}{at}{host}{port}{}{options}",
                    url.path()
                )
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// How a service uses its database. Only the URL and the name have no default.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    pub(crate) url: DatabaseUrl,
    pub(crate) application_name: String,
    pub(crate) connections: u32,
    pub(crate) statement_timeout: Duration,
    pub(crate) deleted: Deleted,
}

/// What becomes of deleted rows in a SQLite file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    LeftInFreePages,
    Overwritten,
}

impl DatabaseConfig {
    /// The defaults: 4 connections on SQLite, 10 on PostgreSQL, statements of at most 30 s (PostgreSQL).
    /// `application_name` is what PostgreSQL's administrators see the connections under.
    #[must_use]
    pub fn new(url: DatabaseUrl, application_name: impl Into<String>) -> Self {
        let connections = match url.engine() {
            Engine::Sqlite => 4,
            Engine::Postgres => 10,
        };
        Self {
            url,
            application_name: application_name.into(),
            connections,
            statement_timeout: Duration::from_secs(30),
            deleted: Deleted::LeftInFreePages,
        }
    }

    /// At most so many connections.
    #[must_use]
    pub fn connections(self, connections: u32) -> Self {
        Self {
            connections,
            ..self
        }
    }

    /// Longest time of one statement; PostgreSQL only, SQLite has no such limit.
    #[must_use]
    pub fn statement_timeout(self, statement_timeout: Duration) -> Self {
        Self {
            statement_timeout,
            ..self
        }
    }

    /// Overwrites deleted content with zeros (SQLite's `secure_delete`), at the cost of more writing.
    #[must_use]
    pub fn secure_delete(self) -> Self {
        Self {
            deleted: Deleted::Overwritten,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
        text.parse()
    }

    #[test]
    fn a_url_never_prints_its_password_or_options() {
        let url = parse("postgres://app:hunter2@db.internal:5433/vault?sslkey=hunter3").unwrap();
        for text in [url.to_string(), format!("{url:?}"), format!("{url:#?}")] {
            assert!(
                text.contains("postgres://app:***@db.internal:5433/vault?***"),
                "{text}"
            );
            assert!(!text.contains("hunter"), "{text}");
        }
        let config = DatabaseConfig::new(url, "test");
        assert!(!format!("{config:?}").contains("hunter"));
    }

    #[test]
    fn errors_do_not_repeat_what_was_given() {
        for text in [
            "hunter2",
            "mysql://a:hunter2@h/d",
            "postgres://:hunter2@",
            "sqlite://",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn sqlite_urls_name_a_file() {
        let path = |text: &str| parse(text).unwrap().sqlite_path().map(Path::to_path_buf);
        assert_eq!(
            path("sqlite:///var/lib/a.sqlite3"),
            Some("/var/lib/a.sqlite3".into())
        );
        assert_eq!(
            path("sqlite://data/a.sqlite3"),
            Some("data/a.sqlite3".into())
        );
        assert_eq!(path("sqlite:///a%20b.sqlite3"), Some("/a b.sqlite3".into()));
        assert_eq!(parse("sqlite://:memory:"), Err(DatabaseUrlError::InMemory));
        assert_eq!(
            parse("sqlite:///a?mode=ro"),
            Err(DatabaseUrlError::SqlitePath)
        );
    }

    #[test]
    fn a_url_printed_and_parsed_again_names_the_same_file() {
        let url = parse("sqlite:///var/lib/a.sqlite3").unwrap();
        assert_eq!(parse(&url.to_string()).unwrap(), url);
    }
}
