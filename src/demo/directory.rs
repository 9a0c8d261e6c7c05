//! A directory that goes away with us, and if we are killed, at the next start.

use std::{
    env,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::account::Account;

/// Of directories in use or left behind. Short, because a socket's path has at most 107 bytes.
const PREFIX: &str = "cdc-pg-";
/// Of directories that are not locked yet.
const NEW: &str = "cdc-new-";
/// Held locked by the process that owns the directory; the kernel releases it when the process dies.
const LOCK: &str = "lock";
/// Longest parent directory that leaves room for our name and the socket's.
const LONGEST_PARENT: usize = 70;

/// A locked temporary directory. Removed on `Drop`.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes one that only `account` (and root) can enter.
    pub(super) fn create(account: Account) -> io::Result<Self> {
        let parent = parent(account);
        let private = Permissions::from_mode(0o700);
        let new = tempfile::Builder::new().prefix(NEW).permissions(private).tempdir_in(&parent)?;
        let lock = File::create(new.path().join(LOCK))?;
        lock.try_lock()?;
        account.own(new.path())?;
        let name = new.path().file_name().unwrap_or_default().to_string_lossy().replacen(NEW, PREFIX, 1);
        // Under its final name it is locked from the beginning: a sweep cannot take it for one left behind.
        let path = parent.join(name);
        fs::rename(new.path(), &path)?;
        let _gone = new.keep();
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the next start's sweep tries again.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Removes the directories that killed processes have left behind, after `stop` has seen each.
pub(super) fn sweep(account: Account, stop: impl Fn(&Path)) {
    sweep_in(&parent(account), account, stop);
}

fn sweep_in(parent: &Path, account: Account, stop: impl Fn(&Path)) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == account.uid());
        let path = entry.path();
        if !ours {
            continue;
        }
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            stop(&path);
            drop(fs::remove_dir_all(&path));
        }
    }
}

/// The system's temporary directory, if a socket's path fits below it and the account can get there, else `/tmp`.
fn parent(account: Account) -> PathBuf {
    let preferred = env::temp_dir();
    let open = |directory: &Path| directory.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    let reachable = !account.is_other() || preferred.ancestors().all(open);
    let fits = preferred.is_absolute() && preferred.as_os_str().len() <= LONGEST_PARENT;
    if fits && reachable { preferred } else { PathBuf::from("/tmp") }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn goes_away_when_dropped_and_is_spared_while_locked() {
        let account = Account::find().unwrap();
        let directory = Directory::create(account).unwrap();
        let path = directory.path().to_owned();
        fs::create_dir(path.join("data")).unwrap();
        let seen = RefCell::new(Vec::new());
        sweep_in(path.parent().unwrap(), account, |left| seen.borrow_mut().push(left.to_owned()));
        assert!(path.join("data").is_dir());
        assert!(!seen.borrow().contains(&path));
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn what_nobody_holds_is_stopped_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let account = Account::find().unwrap();
        for name in ["cdc-pg-left", "cdc-pg-unlocked", "other"] {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            account.own(&path).unwrap();
            if name != "cdc-pg-unlocked" {
                File::create(path.join(LOCK)).unwrap();
            }
        }
        let seen = RefCell::new(Vec::new());
        sweep_in(parent.path(), account, |left| seen.borrow_mut().push(left.to_owned()));
        assert_eq!(seen.into_inner(), [parent.path().join("cdc-pg-left")]);
        assert!(!parent.path().join("cdc-pg-left").exists());
        assert!(parent.path().join("cdc-pg-unlocked").exists(), "not one of ours: it has no lock");
        assert!(parent.path().join("other").exists());
    }
}
