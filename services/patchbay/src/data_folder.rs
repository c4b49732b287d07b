//! The folder in which one suite keeps everything: databases, keys, tokens, addresses.
//!
//! It belongs to its owner alone (mode 0700), and one process at a time runs a suite on it: the lock is
//! held by an open file and so ends with the process, however that ends. Not here: what is in the
//! databases, and the making of tokens (`identity`) and keys (the vault).

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The folder of one suite, as an absolute path.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

/// Held for as long as a suite runs on the folder.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Where the services of a running suite are; written when they are ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) registry: SocketAddr,
    pub(crate) vault: SocketAddr,
    pub(crate) runtime: SocketAddr,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    #[error("the data folder {} cannot be used", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the data folder {} holds other files and is open to other users; give an empty folder, or one \
         with mode 0700",
        .0.display()
    )]
    NotOurs(PathBuf),
    #[error("another `patchbay up`{} is running on the data folder {}", .by, .path.display())]
    InUse { path: PathBuf, by: String },
    #[error("no suite is running on the data folder {}", .0.display())]
    NoSuite(PathBuf),
    #[error("{} is not the addresses of a suite", .path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

impl DataFolder {
    /// The folder of a suite that runs, or ran, for a client. Touches nothing.
    pub(crate) fn at(path: &Path) -> Self {
        // A client that is given a relative path prints it absolute, so that its hints can be followed.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path }
    }

    /// Makes the folder with mode 0700, or takes an existing one.
    pub(crate) fn create(path: &Path) -> Result<Self, DataFolderError> {
        let folder = Self::at(path);
        folder.make().map_err(|source| folder.io(source))?;
        let mode = fs::metadata(&folder.path)
            .map_err(|source| folder.io(source))?
            .permissions();
        if mode.mode() & 0o077 != 0 {
            folder.close_to_others()?;
        }
        Ok(folder)
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
    }

    /// An open folder is closed only if nobody else can have put anything there that we would break:
    /// pointing `--data-dir` at a home folder must not change the home folder.
    fn close_to_others(&self) -> Result<(), DataFolderError> {
        let empty = fs::read_dir(&self.path)
            .map_err(|source| self.io(source))?
            .next()
            .is_none();
        if !empty && !self.lock_path().exists() {
            return Err(DataFolderError::NotOurs(self.path.clone()));
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700))
            .map_err(|source| self.io(source))
    }

    /// Claims the folder for this process.
    pub(crate) fn lock(&self) -> Result<Lock, DataFolderError> {
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options
            .open(self.lock_path())
            .map_err(|source| self.io(source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is a help, not a need.
                let by = match file.read_to_string(&mut holder) {
                    Ok(_) if !holder.trim().is_empty() => format!(" (process {})", holder.trim()),
                    Ok(_) | Err(_) => String::new(),
                };
                return Err(DataFolderError::InUse {
                    path: self.path.clone(),
                    by,
                });
            }
            Err(TryLockError::Error(source)) => return Err(self.io(source)),
        }
        let mut note = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note().map_err(|source| self.io(source))?;
        Ok(Lock { _file: file })
    }

    /// Tells clients where the services are. Whole or not at all.
    pub(crate) fn write_addresses(&self, addresses: &Addresses) -> Result<(), DataFolderError> {
        let path = self.addresses_path();
        let draft = path.with_extension("json.new");
        let json =
            serde_json::to_vec_pretty(addresses).map_err(|source| DataFolderError::Malformed {
                path: path.clone(),
                source,
            })?;
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|source| self.io(source))
    }

    /// Takes the addresses away: nobody is there any more, or not yet.
    pub(crate) fn remove_addresses(&self) -> Result<(), DataFolderError> {
        match fs::remove_file(self.addresses_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Where the services are.
    pub(crate) fn addresses(&self) -> Result<Addresses, DataFolderError> {
        let path = self.addresses_path();
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataFolderError::NoSuite(self.path.clone()));
            }
            Err(source) => return Err(self.io(source)),
        };
        serde_json::from_slice(&json).map_err(|source| DataFolderError::Malformed { path, source })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn registry_database(&self) -> PathBuf {
        self.path.join("registry.sqlite3")
    }

    pub(crate) fn vault_database(&self) -> PathBuf {
        self.path.join("vault.sqlite3")
    }

    pub(crate) fn vault_key(&self) -> PathBuf {
        self.path.join("vault.key")
    }

    /// The raw token of a role.
    pub(crate) fn token(&self, role: names::access::Role) -> PathBuf {
        self.path.join("tokens").join(role.as_str())
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("up.lock")
    }

    fn addresses_path(&self) -> PathBuf {
        self.path.join("addresses.json")
    }

    fn io(&self, source: io::Error) -> DataFolderError {
        DataFolderError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

impl Addresses {
    /// The same addresses as a client on this machine dials them: `0.0.0.0` is nowhere to connect to.
    pub(crate) fn dialled(self) -> Self {
        let Self {
            registry,
            vault,
            runtime,
        } = self;
        Self {
            registry: dialled(registry),
            vault: dialled(vault),
            runtime: dialled(runtime),
        }
    }
}

/// The address as a client on this machine dials it.
pub(crate) fn dialled(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new/data");
        (place, path)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_folder_is_made_for_its_owner_alone() {
        let (_place, path) = place();
        let folder = DataFolder::create(&path).unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        DataFolder::create(&path).expect("an existing one is taken");
    }

    #[test]
    fn an_open_folder_is_closed_only_if_it_is_empty_or_ours() {
        let (_place, path) = place();
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("thesis.txt"), "years of work").unwrap();
        let error = DataFolder::create(&path).unwrap_err();
        assert!(matches!(error, DataFolderError::NotOurs(_)), "{error}");
        assert_eq!(mode(&path), 0o755, "nothing was changed");
        fs::remove_file(path.join("thesis.txt")).unwrap();
        let folder = DataFolder::create(&path).unwrap();
        assert_eq!(mode(&path), 0o700);

        drop(folder.lock().unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        DataFolder::create(&path).expect("our own folder");
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_second_suite_is_refused_and_told_by_whom() {
        let (_place, path) = place();
        let folder = DataFolder::create(&path).unwrap();
        let lock = folder.lock().unwrap();
        let error = folder.lock().unwrap_err().to_string();
        assert!(
            error.contains(&format!("(process {})", std::process::id())),
            "{error}"
        );
        assert!(error.contains("another `patchbay up`"), "{error}");
        drop(lock);
        folder.lock().expect("the lock ends with its holder");
    }

    #[test]
    fn clients_find_the_addresses_while_there_is_a_suite() {
        let (_place, path) = place();
        let folder = DataFolder::create(&path).unwrap();
        assert!(matches!(
            folder.addresses(),
            Err(DataFolderError::NoSuite(_))
        ));
        let addresses = Addresses {
            registry: "0.0.0.0:1".parse().unwrap(),
            vault: "[::]:2".parse().unwrap(),
            runtime: "127.0.0.1:3".parse().unwrap(),
        };
        folder.write_addresses(&addresses.dialled()).unwrap();
        let read = DataFolder::at(&path).addresses().unwrap();
        assert_eq!(read.registry.to_string(), "127.0.0.1:1");
        assert_eq!(read.vault.to_string(), "[::1]:2");
        assert_eq!(mode(&folder.addresses_path()), 0o600);
        folder.remove_addresses().unwrap();
        folder.remove_addresses().expect("twice is no error");
        assert!(matches!(
            folder.addresses(),
            Err(DataFolderError::NoSuite(_))
        ));
    }

    #[test]
    fn damaged_addresses_are_named() {
        let (_place, path) = place();
        let folder = DataFolder::create(&path).unwrap();
        fs::write(folder.addresses_path(), "{").unwrap();
        let error = folder.addresses().unwrap_err();
        assert!(error.to_string().contains("addresses.json"), "{error}");
    }
}
