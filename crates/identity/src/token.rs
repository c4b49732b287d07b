//! Raw bearer tokens: made from 256 random bits, kept in files that only their owner reads.
//!
//! The verifying side never sees this module's values: it knows their SHA-256. No slow hash is
//! needed, because nobody guesses 256 random bits.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng as _;
use sensitive::Text;
use thiserror::Error;

/// Marks our tokens for people and for secret scanners.
const PREFIX: &str = "pbt_";

/// Longest token file that is read; a token is 47 characters.
const MAX_FILE: u64 = 4096;

/// A token file that cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("token file {path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no token: it is empty, too long, or has characters no header can carry.
    #[error("token file {path} does not hold a token")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// A new token of 256 random bits.
#[must_use]
pub fn generate_token() -> Text {
    let mut bits = [0_u8; 32];
    rand::rng().fill_bytes(&mut bits);
    Text::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits)))
}

/// Reads the token in `path`; white space around it is ignored.
///
/// A file that others may read is used all the same (container secrets often are), with a warning.
///
/// # Errors
/// When the file cannot be read or holds no token.
pub fn read_token(path: &Path) -> Result<Text, TokenError> {
    let io = |source| TokenError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the token file is readable by others; use mode 0600");
    }
    let malformed = || TokenError::Malformed {
        path: path.to_owned(),
    };
    if metadata.len() > MAX_FILE {
        return Err(malformed());
    }
    let content = Text::new(fs::read_to_string(path).map_err(io)?);
    let token = content.expose().trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed());
    }
    Ok(Text::new(token.to_owned()))
}

/// Reads the token in `path`, or makes one there (mode 0600) if there is no such file.
pub(crate) fn read_or_create_token(path: &Path) -> Result<Text, TokenError> {
    if path.exists() {
        return read_token(path);
    }
    let token = generate_token();
    let write = || write_private(path, token.expose().as_bytes());
    write().map_err(|source| TokenError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(token)
}

/// Writes a file that only its owner reads, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut draft = path.to_owned().into_os_string();
    draft.push(format!(".{:016x}", rand::random::<u64>()));
    let draft = PathBuf::from(draft);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&draft)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_differ_and_fit_a_header() {
        let (one, two) = (generate_token(), generate_token());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), PREFIX.len() + 43);
        assert!(http::HeaderValue::from_str(one.expose()).is_ok());
    }

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("operator");
        let made = read_or_create_token(&path).expect("made");
        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = read_or_create_token(&path).expect("read");
        assert_eq!(made.expose(), again.expose());
        assert_eq!(
            fs::read_dir(folder.path()).expect("folder").count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn white_space_around_a_token_is_ignored_and_a_file_without_one_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("token");
        fs::write(&path, "  pbt_x\n").expect("written");
        assert_eq!(read_token(&path).expect("token").expose(), "pbt_x");
        for content in ["", " \n", "two words", "caf\u{e9}"] {
            fs::write(&path, content).expect("written");
            assert!(
                matches!(read_token(&path), Err(TokenError::Malformed { .. })),
                "{content:?}"
            );
        }
        fs::write(&path, "x".repeat(5000)).expect("written");
        assert!(matches!(
            read_token(&path),
            Err(TokenError::Malformed { .. })
        ));
        assert!(matches!(
            read_token(&folder.path().join("no")),
            Err(TokenError::Io { .. })
        ));
    }
}
