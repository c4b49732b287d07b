//! As whom the server runs: PostgreSQL refuses to run as root, so root (in a container, say) lends it to
//! the account `postgres`. Anyone else runs it as themselves.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// A command that runs as the server's account, inside a folder that this account may enter.
pub(crate) fn as_postgres(program: &Path, folder: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(folder);
    if let Some((user, group)) = lent_to()? {
        command.uid(user).gid(group);
    }
    Ok(command)
}

/// Makes a folder of ours the server's.
pub(crate) fn give_to_postgres(folder: &Path) -> Result<()> {
    match lent_to()? {
        Some((user, group)) => chown(folder, Some(user), Some(group)).context("chown"),
        None => Ok(()),
    }
}

fn lent_to() -> Result<Option<(u32, u32)>> {
    // The owner of our own entry in /proc is who we are; std has no call for it.
    let us = fs::metadata("/proc/self").context("no /proc")?.uid();
    if us != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("no /etc/passwd")?;
    let found = entry(&accounts, "postgres");
    found
        .map(Some)
        .context("PostgreSQL does not run as root, and there is no account `postgres`")
}

fn entry(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let mut numbers = fields.skip(1).map(|field| field.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    })
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0::/root:/bin/sh\npostgresql:x:1:1::/:/bin/sh\npostgres:x:112:118::/var:/bin/sh\n";
        assert_eq!(entry(accounts, "postgres"), Some((112, 118)));
        assert_eq!(entry(accounts, "nobody"), None);
    }
}
