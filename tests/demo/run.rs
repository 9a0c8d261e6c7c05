//! The binary with a temporary directory of its own, which must be empty at the end.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// How long the demo may take to end, on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running demo; killed when dropped.
pub(crate) struct Run {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    read: String,
    stderr: Option<thread::JoinHandle<String>>,
    directory: TempDir,
}

/// What it has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        // PostgreSQL may run as another user.
        let directory =
            tempfile::Builder::new().prefix("demo-").permissions(Permissions::from_mode(0o755)).tempdir_in("/tmp");
        let directory = directory.unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cdc-notifier"))
            .arg("demo")
            .args(arguments)
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("TMPDIR", directory.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, stdout: Some(stdout), read: String::new(), stderr: Some(stderr), directory }
    }

    /// Reads stdout up to a line with this word.
    pub(crate) fn reads(&mut self, word: &str) {
        let stdout = self.stdout.as_mut().unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "no line with {word}: {}", self.read);
            self.read.push_str(&line);
            if line.contains(word) {
                return;
            }
        }
    }

    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, and looks for what is left of it.
    pub(crate) fn ends(mut self) -> Ended {
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_string(&mut self.read).unwrap();
        }
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if Instant::now() > deadline => panic!("does not end: {}", self.read),
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        let left: Vec<_> = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        assert_eq!(processes_in(self.directory.path()), Vec::<String>::new(), "still running");
        Ended { code, stdout: std::mem::take(&mut self.read), stderr }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The command lines of processes that were started with this directory or work below it, whether it is still there or not.
fn processes_in(directory: &Path) -> Vec<String> {
    let name = directory.to_str().unwrap();
    let processes = fs::read_dir("/proc").into_iter().flatten().map(|entry| entry.unwrap().path());
    let lines = processes.filter_map(|process| {
        let line = fs::read(process.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let works_in = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(name));
        (works_in || line.contains(name)).then_some(line)
    });
    lines.collect()
}
