//! Where PostgreSQL's programs are on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Names the directory of PostgreSQL's programs; it is preferred to all others.
pub(super) const VARIABLE: &str = "CDC_NOTIFIER_POSTGRES_BIN";

/// Without these there is no server.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Directories that hold one directory per version, what stands before the version, and what follows it.
const VERSIONED: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/opt/local/lib", "postgresql", "bin"),
];

/// The directory of PostgreSQL's server programs: what the variable names, else `PATH`, else the usual places, newest version first.
pub(super) fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        return complete(&named).then_some(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find(|directory| complete(directory));
    on_path.or_else(|| {
        let usual = VERSIONED.iter().flat_map(|(parent, before, after)| versions(Path::new(parent), before, after));
        usual.chain([PathBuf::from("/usr/local/pgsql/bin")]).find(|directory| complete(directory))
    })
}

/// Whether this directory holds all programs that a server needs.
pub(super) fn complete(directory: &Path) -> bool {
    directory.is_absolute() && PROGRAMS.iter().all(|program| directory.join(program).is_file())
}

/// `<parent>/<before><version>/<after>`, newest version first.
fn versions(parent: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let version = name.strip_prefix(before)?.parse().ok()?;
            Some((version, parent.join(name).join(after)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, directory)| directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_comes_first_by_number() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pg-9", "pg-10", "pg-17", "pg-old", "other-18"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let names: Vec<_> = versions(parent.path(), "pg-", "bin");
        let expected: Vec<_> = ["pg-17", "pg-10", "pg-9"].iter().map(|n| parent.path().join(n).join("bin")).collect();
        assert_eq!(names, expected);
        assert!(versions(Path::new("/nonexistent"), "", "").is_empty());
    }

    #[test]
    fn a_client_installation_is_not_a_server() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("pg_ctl"), "").unwrap();
        assert!(!complete(directory.path()));
        for program in PROGRAMS {
            fs::write(directory.path().join(program), "").unwrap();
        }
        assert!(complete(directory.path()));
        assert!(!complete(Path::new("bin")), "a relative directory would depend on where we run");
    }
}
