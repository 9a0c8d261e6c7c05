//! The user that PostgreSQL runs as: it refuses to run as root.

use std::{
    ffi::OsStr,
    io,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::{User, geteuid};

/// Tried in this order where we are root.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who owns the server's files and runs its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// User and group to change to; `None` stays who we are.
    other: Option<(u32, u32)>,
}

impl Account {
    /// Ourselves; as root an unprivileged user. `None` if we are root and there is no such user.
    pub(super) fn find() -> Option<Self> {
        if !geteuid().is_root() {
            return Some(Self { other: None });
        }
        let user = UNPRIVILEGED.iter().find_map(|name| User::from_name(name).ok().flatten())?;
        Some(Self { other: Some((user.uid.as_raw(), user.gid.as_raw())) })
    }

    /// The numeric user id.
    pub(super) fn uid(self) -> u32 {
        self.other.map_or_else(|| geteuid().as_raw(), |(uid, _)| uid)
    }

    /// Whether it is another user than ourselves.
    pub(super) const fn is_other(self) -> bool {
        self.other.is_some()
    }

    /// Makes it the owner of this file or directory.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        self.other.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)))
    }

    /// A command that runs as it, in `directory`, with nothing to read and an environment without libpq's variables.
    pub(super) fn command(self, program: impl AsRef<OsStr>, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).stdin(Stdio::null()).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some((uid, gid)) = self.other {
            // The standard library drops the supplementary groups when root changes its user.
            command.uid(uid).gid(gid);
        }
        command
    }
}
