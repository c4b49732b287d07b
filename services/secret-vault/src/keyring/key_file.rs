//! The file that holds the key-encryption key: one line, `SVKEK1 <id> <base64 of 32 random bytes>`.
//!
//! A file that others could read or swap is refused: it must be a regular file, not a symbolic link, owned
//! by the effective user, without any permission for group and others. It is made once, complete and
//! durable before it gets its name, and never over another file. Passphrases are not accepted.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envelope::Key;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use uuid::Uuid;
use zeroize::Zeroizing;

const MAGIC: &str = "SVKEK1";
/// The line has 88 bytes with its newline; anything larger is something else.
const MOST_BYTES: u64 = 128;

/// Where the key file is.
#[derive(Debug, Clone)]
pub(crate) struct KeyFile(PathBuf);

/// The key-encryption key, and the name by which rows refer to it.
#[derive(Debug)]
pub(crate) struct ProviderKey {
    pub(crate) reference: String,
    pub(crate) key: Key,
}

/// Why there is no key. Texts name the file, never its content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("the key file {0} does not exist")]
    Missing(PathBuf),
    #[error("the key file {0} exists already")]
    Exists(PathBuf),
    #[error("the key file {0} must be a regular file, not a symbolic link or anything else")]
    NotAFile(PathBuf),
    #[error("the key file {0} must belong to the user this program runs as")]
    Owner(PathBuf),
    #[error("the key file {0} must not be accessible to group or others; chmod 600")]
    Mode(PathBuf),
    #[error("the key file {0} must hold one line: SVKEK1 <id> <base64 of 32 bytes>")]
    Malformed(PathBuf),
    #[error("the key file {0} cannot be used: {1}")]
    Io(PathBuf, ErrorKind),
    #[error("the system gave no randomness")]
    Randomness,
}

impl KeyFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Reads and checks the file.
    pub(crate) fn load(&self) -> Result<ProviderKey, KeyFileError> {
        let path = || self.0.clone();
        // NONBLOCK: a pipe in the file's place must not make the start hang.
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = options.open(&self.0).map_err(|error| match error.kind() {
            ErrorKind::NotFound => KeyFileError::Missing(path()),
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                KeyFileError::NotAFile(path())
            }
            kind => KeyFileError::Io(path(), kind),
        })?;
        let metadata = file.metadata().map_err(|error| self.io(&error))?;
        if !metadata.is_file() {
            return Err(KeyFileError::NotAFile(path()));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(KeyFileError::Owner(path()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(KeyFileError::Mode(path()));
        }
        if metadata.len() > MOST_BYTES {
            return Err(KeyFileError::Malformed(path()));
        }
        let mut line = Zeroizing::new(String::with_capacity(2 * MOST_BYTES as usize));
        file.take(MOST_BYTES)
            .read_to_string(&mut line)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidData => KeyFileError::Malformed(path()),
                kind => KeyFileError::Io(path(), kind),
            })?;
        parse(&line).ok_or_else(|| KeyFileError::Malformed(path()))
    }

    /// Makes the file with a new key. Whoever loses a race gets [`KeyFileError::Exists`].
    pub(crate) fn create(&self) -> Result<ProviderKey, KeyFileError> {
        let id = super::random_id().map_err(|_| KeyFileError::Randomness)?;
        let key = Key::generate().map_err(|_| KeyFileError::Randomness)?;
        let mut line = Zeroizing::new(String::with_capacity(2 * MOST_BYTES as usize));
        line.push_str(&format!("{MAGIC} {id} "));
        STANDARD.encode_string(key.expose(), &mut line);
        line.push('\n');
        // Complete under another name first: a crash half-way must not leave half a key file, which
        // would stop every later start.
        let draft = self.0.with_extension(format!("{}.draft", id.simple()));
        let made = self
            .write(&draft, &line)
            .and_then(|()| self.publish(&draft));
        if made.is_err() && draft.exists() {
            fs::remove_file(&draft).map_err(|error| self.io(&error))?;
        }
        made.map(|()| ProviderKey {
            reference: reference(id),
            key,
        })
    }

    fn write(&self, draft: &Path, line: &str) -> Result<(), KeyFileError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(draft).map_err(|error| self.io(&error))?;
        file.write_all(line.as_bytes())
            .map_err(|error| self.io(&error))?;
        file.sync_all().map_err(|error| self.io(&error))
    }

    fn publish(&self, draft: &Path) -> Result<(), KeyFileError> {
        renameat_with(CWD, draft, CWD, &self.0, RenameFlags::NOREPLACE).map_err(
            |error| match error {
                Errno::EXIST => KeyFileError::Exists(self.0.clone()),
                error => self.io(&error.into()),
            },
        )?;
        let folder = match self.0.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        let folder = File::open(folder).map_err(|error| self.io(&error))?;
        folder.sync_all().map_err(|error| self.io(&error))
    }

    fn io(&self, error: &std::io::Error) -> KeyFileError {
        KeyFileError::Io(self.0.clone(), error.kind())
    }
}

fn reference(id: Uuid) -> String {
    format!("file:{id}")
}

/// Exactly three fields and an optional newline; exactly 32 bytes.
fn parse(line: &str) -> Option<ProviderKey> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let mut fields = line.split(' ');
    let (magic, id, encoded) = (fields.next()?, fields.next()?, fields.next()?);
    if magic != MAGIC || fields.next().is_some() || encoded.len() != 44 {
        return None;
    }
    let parsed = Uuid::try_parse(id).ok()?;
    if parsed.hyphenated().to_string() != id {
        return None;
    }
    let mut bytes = Zeroizing::new([0_u8; 33]);
    let length = STANDARD.decode_slice(encoded, bytes.as_mut_slice()).ok()?;
    let key = Key::from_slice(&bytes[..length]).ok()?;
    Some(ProviderKey {
        reference: reference(parsed),
        key,
    })
}

#[cfg(test)]
mod tests;
