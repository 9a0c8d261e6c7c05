//! The service under test: the real binary, its configuration, its admin address.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// A part of every secret that a test configures. No output of a service may have it.
pub const CANARY: &str = "canary";

/// No secret is in this output.
pub fn shows_no_secret(what: &str, output: &str) {
    let line = output.lines().find(|line| line.contains(CANARY));
    assert!(line.is_none(), "a secret is in {what}: {line:?}");
}

/// How long a condition may take on a slow machine before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for a condition; says what it was and what was seen last when it does not come.
pub fn eventually<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => panic!("{what}: not within {patience:?}; last seen: {seen}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A running `cdc-notifier run`; killed when dropped. Its configuration and its environment have secrets, which all its output is
/// searched for.
pub struct Service {
    directory: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    child: Child,
    starts: usize,
}

impl Service {
    /// Starts it with this TOML configuration, of which the admin address is taken over.
    pub fn start(configuration: &str) -> Self {
        Self::start_with_environment(configuration, &[])
    }

    /// The same, with environment variables.
    pub fn start_with_environment(configuration: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_program(env!("CARGO_BIN_EXE_cdc-notifier").as_ref(), configuration, environment)
    }

    /// The same with another build of it.
    pub fn start_program(program: &Path, configuration: &str, environment: &[(&str, &str)]) -> Self {
        assert!(configuration.contains(CANARY), "a configuration without a secret: {configuration}");
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(&path, configuration).unwrap();
        let arguments = vec![
            "run".to_owned(),
            "--config".to_owned(),
            path.display().to_string(),
            "--admin-listen".to_owned(),
            "127.0.0.1:0".to_owned(),
            "--log-format".to_owned(),
            "json".to_owned(),
        ];
        let child = spawn(program, &arguments, &environment, &directory, 1);
        Self { directory, program: program.to_owned(), arguments, environment, child, starts: 1 }
    }

    /// Starts it again after it has ended, with the same configuration.
    pub fn start_again(&mut self) {
        self.starts += 1;
        self.child = spawn(&self.program, &self.arguments, &self.environment, &self.directory, self.starts);
    }

    /// The environment variables of its next starts.
    pub fn set_environment(&mut self, environment: &[(&str, &str)]) {
        self.environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    /// Starts it again with another configuration.
    pub fn start_with(&mut self, configuration: &str) {
        fs::write(self.directory.path().join("config.toml"), configuration).unwrap();
        self.start_again();
    }

    fn log_path(&self, start: usize) -> PathBuf {
        self.directory.path().join(format!("log.{start}"))
    }

    /// What this start has logged so far, one JSON object a line.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path(self.starts)).unwrap_or_default()
    }

    /// What all starts have logged.
    pub fn all_logs(&self) -> String {
        (1..=self.starts).map(|start| fs::read_to_string(self.log_path(start)).unwrap_or_default()).collect()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end and returns the exit code.
    pub fn exit_code(&mut self, patience: Duration) -> Option<i32> {
        eventually("the service ends", patience, || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status.code()),
            None => Err(self.log().lines().last().unwrap_or_default().to_owned()),
        })
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.exit_code(PATIENCE), Some(0), "{}", self.log());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Highest resident memory of this start, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// `http://host:port` of the admin address, from the log.
    pub fn admin(&self) -> String {
        eventually("the admin address is logged", PATIENCE, || {
            let log = self.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let address = lines
                .filter(|line| line["message"] == "admin listening")
                .find_map(|line| line["address"].as_str().map(|address| format!("http://{address}")));
            address.ok_or(log)
        })
    }

    /// Status and JSON of a GET.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let response = agent().get(format!("{}{path}", self.admin())).call();
        let mut response = response.unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()));
        let mut text = String::new();
        response.body_mut().as_reader().read_to_string(&mut text).unwrap();
        shows_no_secret(path, &text);
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    /// Status of a POST.
    pub fn post(&self, path: &str) -> u16 {
        let mut response = agent().post(format!("{}{path}", self.admin())).send_empty().unwrap();
        shows_no_secret(path, &response.body_mut().read_to_string().unwrap());
        response.status().as_u16()
    }

    /// One slot as `/api/v1/streams` shows it.
    pub fn slot(&self, slot: &str) -> Value {
        let (_, answer) = self.get("/api/v1/streams");
        let streams = answer["streams"].as_array().unwrap();
        streams.iter().find(|stream| stream["slot"] == slot).unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// Waits until a slot is in this state.
    pub fn wait_for_state(&self, slot: &str, state: &str) -> Value {
        eventually(&format!("slot {slot} is {state}"), PATIENCE, || {
            let seen = self.slot(slot);
            if seen["state"] == state { Ok(seen) } else { Err(format!("{seen}\n{}", self.log())) }
        })
    }

    /// Waits until a slot shows a trouble of this class, and returns it.
    pub fn wait_for_trouble(&self, slot: &str, class: &str) -> Value {
        eventually(&format!("slot {slot} shows {class}"), PATIENCE, || {
            let seen = self.slot(slot);
            if seen["last_error"]["class"] == class { Ok(seen) } else { Err(format!("{seen}\n{}", self.log())) }
        })
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into()
}

fn spawn(
    program: &Path,
    arguments: &[String],
    environment: &[(String, String)],
    directory: &TempDir,
    start: usize,
) -> Child {
    let log = fs::File::create(directory.path().join(format!("log.{start}"))).unwrap();
    Command::new(program)
        .args(arguments)
        .env("SECRET_OF_OTHERS", format!("{CANARY}-of-the-environment"))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(400).collect();
            eprintln!("--- the service's log, its end:");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        } else {
            shows_no_secret("the log", &self.all_logs());
        }
    }
}
