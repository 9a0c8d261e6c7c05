//! A PostgreSQL server that lives as long as a value: for the `demo` command and for tests with a real server.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Child, Command},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    account::Account,
    directory::{self, Directory},
    installation,
};

/// The superuser of the server, without a password.
pub const SUPERUSER: &str = "postgres";

/// Of the TCP ports we take: below the range from which systems take ports for outgoing connections.
const PORTS: std::ops::Range<u32> = 20_000..32_000;
/// The port (part of the socket's name) when there is no TCP.
const SOCKET_PORT: u16 = 5432;
/// How long starting and stopping may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often we look whether they are done.
const POLL: Duration = Duration::from_millis(2);

/// Settings of every server; `Options::settings` come after them. A killed server loses nothing without fsync, a machine would.
const SETTINGS: [(&str, &str); 10] = [
    ("wal_level", "logical"),
    ("fsync", "off"),
    ("max_wal_senders", "20"),
    ("max_replication_slots", "20"),
    ("max_prepared_transactions", "10"),
    ("shared_buffers", "16MB"),
    // In the data directory, so that a killed server leaves nothing in /dev/shm.
    ("dynamic_shared_memory_type", "mmap"),
    ("TimeZone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// What kind of server is wanted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Settings of `postgresql.conf`, after our own; values without quotes.
    pub settings: Vec<(String, String)>,
    /// Whether it listens on 127.0.0.1 too, on a free port, beside its Unix socket.
    pub listen_tcp: bool,
    /// The whole of `pg_hba.conf`; by default everybody who gets to it is trusted.
    pub hba: Option<String>,
    /// The directory of PostgreSQL's programs, if not the one that is found.
    pub bin_dir: Option<PathBuf>,
}

/// How to stop, in PostgreSQL's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Waits until all clients have gone.
    Smart,
    /// Cuts the clients off, then a checkpoint; waits for walsenders to be acknowledged.
    Fast,
    /// As after a crash: no checkpoint, recovery at the next start.
    Immediate,
}

impl Mode {
    const fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::SIGTERM,
            Self::Fast => Signal::SIGINT,
            Self::Immediate => Signal::SIGQUIT,
        }
    }
}

/// A temporary server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no PostgreSQL on this machine.
    #[error("PostgreSQL's server programs were not found (initdb, pg_ctl, postgres)")]
    NotInstalled,
    /// We are root, which PostgreSQL refuses, and there is nobody else.
    #[error("PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody")]
    NoAccount,
    /// A file, a directory or a process.
    #[error("{doing}: {source}")]
    Io {
        /// What we were about to do.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// One of PostgreSQL's programs has failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// What it wrote, and the end of the server's log.
        output: String,
    },
}

impl StartError {
    /// What mends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotInstalled => format!(
                "apt-get install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora, RHEL) or brew install postgresql; \
                 if it is installed, set {} to the directory of pg_ctl",
                installation::VARIABLE
            ),
            Self::NoAccount => "run as another user, or create one: useradd --system postgres".to_owned(),
            Self::Io { .. } => "see that the temporary directory (TMPDIR) is writable and not full".to_owned(),
            Self::Failed { .. } => "see the output above; TMPDIR needs about 50 MB".to_owned(),
        }
    }
}

/// A running (or stopped) server in a temporary directory. `Drop` stops it at once and removes the directory, also after a panic.
///
/// Starting and stopping block the thread for up to some seconds.
#[derive(Debug)]
pub struct TemporaryPostgres {
    account: Account,
    bin_dir: PathBuf,
    directory: Directory,
    data_dir: PathBuf,
    host: String,
    port: u16,
    /// Prepared once for all servers of the process that live at a time.
    _template: Arc<Template>,
    /// The postmaster.
    running: Option<Child>,
}

impl TemporaryPostgres {
    /// Makes a server and waits until it accepts connections. Its superuser is `postgres`, its database `postgres`, its encoding UTF8.
    ///
    /// # Errors
    /// If PostgreSQL is missing or does not start; [`StartError::remedy`] says what to do.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let account = Account::find().ok_or(StartError::NoAccount)?;
        let bin_dir = match &options.bin_dir {
            Some(given) => installation::complete(given).then(|| given.clone()),
            None => installation::find(),
        };
        let bin_dir = bin_dir.ok_or(StartError::NotInstalled)?;
        let template = Template::shared(account, &bin_dir)?;
        let directory = Directory::create(account).map_err(io("making a temporary directory"))?;
        let data_dir = directory.path().join("data");
        let mut copy = account.command("cp", directory.path());
        copy.arg("-Rp").arg(template.data_dir()).arg(&data_dir);
        run("cp", &mut copy)?;
        if let Some(hba) = &options.hba {
            fs::write(data_dir.join("pg_hba.conf"), hba).map_err(io("writing pg_hba.conf"))?;
        }
        let host = if options.listen_tcp { "127.0.0.1" } else { directory.path().to_str().unwrap_or_default() };
        let host = host.to_owned();
        let mut server =
            Self { account, bin_dir, directory, data_dir, host, port: SOCKET_PORT, _template: template, running: None };
        server.start_on_free_port(options)?;
        Ok(server)
    }

    /// The host for a client: the directory of the Unix socket, or 127.0.0.1 with `listen_tcp`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port for a client, also part of the socket's name.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The directory of PostgreSQL's programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// One of PostgreSQL's programs, as the user of the server, with nothing to read.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.account.command(self.bin_dir.join(program), self.directory.path())
    }

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Stops the server and waits for it.
    ///
    /// # Errors
    /// If it is not running or does not stop in two minutes.
    pub fn stop(&mut self, mode: Mode) -> io::Result<()> {
        self.signal(mode.signal())?;
        self.wait()
    }

    /// Starts the stopped or killed server again and waits until it accepts connections: same data, same port.
    ///
    /// # Errors
    /// If it does not start, or runs already.
    pub fn start_again(&mut self) -> Result<(), StartError> {
        let before = self.log().len();
        let log = File::options().append(true).create(true).open(self.log_file()).map_err(io("opening the log"))?;
        let second = log.try_clone().map_err(io("opening the log"))?;
        let mut command = self.command("postgres");
        // Ours to wait for, so that nothing of it is left after a kill; a group of its own, so that Ctrl-C is not for it.
        command.arg("-D").arg(&self.data_dir).stdout(log).stderr(second).process_group(0);
        let mut child = command.spawn().map_err(io("running postgres"))?;
        let id = child.id().to_string();
        let end = Instant::now() + PATIENCE;
        // The first line of the file names its writer, the eighth says how far it is.
        while !(self.pid_file_line(0).is_some_and(|line| line.trim() == id)
            && self.pid_file_line(7).is_some_and(|line| matches!(line.trim(), "ready" | "standby")))
        {
            let ended = child.try_wait().map_err(io("waiting for postgres"))?;
            if ended.is_some() || Instant::now() > end {
                drop(child.kill().and_then(|()| child.wait()));
                let log = self.log();
                let output = log.get(before..).unwrap_or(&log).trim().to_owned();
                return Err(StartError::Failed { program: "postgres", output });
            }
            thread::sleep(POLL);
        }
        self.running = Some(child);
        Ok(())
    }

    /// Kills the postmaster and its children with SIGKILL and waits until they are gone: a crash without a last word.
    /// Where there is no `/proc`, the children find out by themselves.
    ///
    /// # Errors
    /// If the server is not running or does not die.
    pub fn kill(&mut self) -> io::Result<()> {
        // Stopped, the postmaster can neither start another child nor clean up after one.
        self.signal(Signal::SIGSTOP)?;
        let children = self.postmaster().map(children).unwrap_or_default();
        for child in &children {
            // One that has just ended is no failure.
            let _gone = kill(*child, Signal::SIGKILL).is_err();
        }
        self.signal(Signal::SIGKILL)?;
        self.wait()?;
        wait_until(|| Ok(!children.iter().any(|child| alive(*child))))
    }

    /// Lets the server read its configuration files again; it does so soon after.
    ///
    /// # Errors
    /// If it is not running.
    pub fn reload(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGHUP)
    }

    /// The postmaster's process id, unless the server was stopped or killed.
    #[must_use]
    pub fn postmaster(&self) -> Option<Pid> {
        let id = self.running.as_ref()?.id();
        i32::try_from(id).ok().map(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let postmaster = self.postmaster().ok_or_else(|| io::Error::other("the server is not running"))?;
        Ok(kill(postmaster, signal)?)
    }

    fn wait(&mut self) -> io::Result<()> {
        let Some(child) = &mut self.running else { return Ok(()) };
        wait_until(|| Ok(child.try_wait()?.is_some()))?;
        self.running = None;
        Ok(())
    }

    fn start_on_free_port(&mut self, options: &Options) -> Result<(), StartError> {
        let mut attempts = 20;
        loop {
            if options.listen_tcp {
                self.port = free_port();
            }
            fs::write(self.data_dir.join("postgresql.conf"), self.configuration(options))
                .map_err(io("writing postgresql.conf"))?;
            attempts -= 1;
            match self.start_again() {
                // Another process was quicker than we.
                Err(StartError::Failed { output, .. })
                    if options.listen_tcp && attempts > 0 && output.contains("Address already in use") => {}
                result => return result,
            }
        }
    }

    fn configuration(&self, options: &Options) -> String {
        let port = self.port.to_string();
        let sockets = self.directory.path().to_string_lossy();
        let addresses = if options.listen_tcp { "127.0.0.1" } else { "" };
        let places = [("listen_addresses", addresses), ("port", &port), ("unix_socket_directories", &sockets)];
        let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let line =
            |(name, value): (&str, &str)| format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''"));
        SETTINGS.into_iter().chain(places).chain(given).map(line).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn pid_file_line(&self, line: usize) -> Option<String> {
        let text = fs::read_to_string(self.data_dir.join("postmaster.pid")).ok()?;
        text.lines().nth(line).map(str::to_owned)
    }
}

impl Drop for TemporaryPostgres {
    fn drop(&mut self) {
        if self.postmaster().is_some() && self.stop(Mode::Immediate).is_err() {
            drop(self.kill());
        }
        // A killed server leaves its System V segment to its successor, which there will not be: "key id" in line 7.
        let segment = self.pid_file_line(6).and_then(|line| Some(line.split_whitespace().nth(1)?.to_owned()));
        if let Some(segment) = segment {
            drop(self.account.command("ipcrm", self.directory.path()).args(["-m", &segment]).output());
        }
    }
}

/// An initialised data directory that servers copy: initdb takes longer than all the rest.
#[derive(Debug)]
struct Template {
    directory: Directory,
}

impl Template {
    /// The one of this installation, made if no server of this process has it. First, what killed processes have left is removed.
    fn shared(account: Account, bin_dir: &Path) -> Result<Arc<Self>, StartError> {
        static SHARED: Mutex<Option<HashMap<PathBuf, Weak<Template>>>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = shared.get_or_insert_default();
        if let Some(template) = shared.get(bin_dir).and_then(Weak::upgrade) {
            return Ok(template);
        }
        directory::sweep(account, |left| {
            let mut stop = account.command(bin_dir.join("pg_ctl"), left);
            drop(stop.args(["stop", "-m", "immediate", "-w", "-D"]).arg(left.join("data")).output());
        });
        let directory = Directory::create(account).map_err(io("making a temporary directory"))?;
        let template = Self { directory };
        let mut initdb = account.command(bin_dir.join("initdb"), template.directory.path());
        initdb.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
        run("initdb", initdb.arg(template.data_dir()))?;
        let template = Arc::new(template);
        shared.insert(bin_dir.to_owned(), Arc::downgrade(&template));
        Ok(template)
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

fn io(doing: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Io { doing, source }
}

fn run(program: &'static str, command: &mut Command) -> Result<(), StartError> {
    let result = command.output().map_err(io("running one of PostgreSQL's programs"))?;
    if result.status.success() {
        return Ok(());
    }
    let output = [result.stdout, result.stderr].concat();
    Err(StartError::Failed { program, output: String::from_utf8_lossy(&output).trim().to_owned() })
}

/// A port that nobody listens on now, another one at every call.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes begin at different places, so that they seldom meet.
    let begin = process::id().wrapping_mul(101);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(begin) % (PORTS.end - PORTS.start);
        let port = u16::try_from(PORTS.start + number).unwrap_or(SOCKET_PORT);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn wait_until(mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > end {
            return Err(io::Error::other(format!("the server does not stop within {} s", PATIENCE.as_secs())));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// State and parent of a process, from `/proc`.
fn state(pid: &str) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows it is made of numbers and one letter.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// Whether the process runs; one that only waits for its parent to notice its end does not.
fn alive(process: Pid) -> bool {
    kill(process, None).is_ok() && state(&process.to_string()).is_none_or(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn children(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| state(id).is_some_and(|(_, of)| of == parent.as_raw()))
        .filter_map(|id| id.parse().ok().map(Pid::from_raw))
        .collect()
}
