//! A private PostgreSQL with a fresh database for every test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, geteuid};

use super::port::Port;
use super::server::{Server, find, output, tool};

/// The only role: superuser, no password, reachable through 127.0.0.1 alone.
const ROLE: &str = "quadrille";

/// How long `initdb` or a copy for a standby may take: 1 s was measured.
const INITDB: Duration = Duration::from_secs(60);

/// How long an ordered stop may take, with whatever checkpoint it makes.
const STOP: Duration = Duration::from_secs(30);

/// Where Debian and Ubuntu keep the server's programs, newest first; elsewhere they are on `PATH`.
const VERSIONS: std::ops::RangeInclusive<u32> = 13..=30;

/// `mmap` leaves nothing in `/dev/shm` when it is killed.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "dynamic_shared_memory_type=mmap",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] %d ",
];

/// How a server is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Clients are disconnected, their transactions are rolled back, a checkpoint is written.
    Fast,
    /// Everything is aborted, the next start recovers from the log.
    Immediate,
}

/// A PostgreSQL of one test or, by [`Postgres::shared`], of one test binary.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: Port,
    programs: PathBuf,
    /// Who runs it when the tests run as root, which PostgreSQL refuses to.
    user: Option<(u32, u32)>,
    databases: AtomicU32,
    /// `off` is safe for tests: the pages of a killed server stay in the kernel, and only a power
    /// cut would lose them. Whoever measures wants it on.
    fsync: &'static str,
}

impl Postgres {
    /// Makes a cluster and starts a server on it; about 1.5 s.
    pub fn start() -> Result<Postgres> {
        Self::start_with("fsync=off")
    }

    /// The same with every commit on the disk, as in production.
    pub fn start_durable() -> Result<Postgres> {
        Self::start_with("fsync=on")
    }

    fn start_with(fsync: &'static str) -> Result<Postgres> {
        let folders: Vec<PathBuf> = VERSIONS
            .rev()
            .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
            .collect();
        let initdb = find("initdb", &folders, "install the package postgresql")?;
        let programs = initdb.parent().context("initdb has no folder")?.to_owned();
        let user = if geteuid().is_root() { Some(server_user()?) } else { None };
        let postgres = Self::new(programs, user, fsync)?;
        let mut cluster = postgres.command("initdb", Signal::KILL);
        cluster.args(["--pgdata=data", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        cluster.args(["--no-sync", &format!("--username={ROLE}")]);
        postgres.make_cluster(cluster, "initdb")?;
        postgres.launch()?;
        Ok(postgres)
    }

    fn new(programs: PathBuf, user: Option<(u32, u32)>, fsync: &'static str) -> Result<Postgres> {
        let (server, port) = (Server::new("postgres")?, Port::claim()?);
        let databases = AtomicU32::new(0);
        let postgres = Postgres { server, port, programs, user, databases, fsync };
        if let Some((user, group)) = user {
            postgres.server.keeper.give_to(user, group)?;
        }
        Ok(postgres)
    }

    /// A standby that follows this server, which it reaches at `way`: its address, or a proxy's.
    pub fn standby(&self, way: SocketAddr) -> Result<Postgres> {
        let standby = Self::new(self.programs.clone(), self.user, self.fsync)?;
        let mut copy = standby.command("pg_basebackup", Signal::KILL);
        copy.args(["--pgdata=data", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        copy.args([format!("--host={}", way.ip()), format!("--port={}", way.port())]);
        copy.arg(format!("--username={ROLE}"));
        standby.make_cluster(copy, "pg_basebackup")?;
        standby.launch()?;
        Ok(standby)
    }

    /// Makes a standby the server; returns when it takes writes.
    pub fn promote(&self) -> Result<()> {
        let promoted = self.psql("postgres", "select pg_promote()")?;
        ensure!(promoted.trim() == "t", "the standby was not promoted: {promoted}");
        Ok(())
    }

    /// Has each commit wait for a standby from now on; there must be one.
    pub fn wait_for_standby(&self) -> Result<()> {
        self.psql("postgres", "alter system set synchronous_standby_names = '*'")?;
        self.psql("postgres", "select pg_reload_conf()").map(drop)
    }

    /// The server of this test binary, started by whoever asks first and ended with the process.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start().unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// The address of a database, as `postgres://quadrille@127.0.0.1:<port>/<database>`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/{database}", self.port.number)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// Makes a fresh database and returns its address; about 0.1 s.
    pub fn database(&self) -> Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        let database = format!("test_{number}");
        self.psql("postgres", &format!("create database {database}"))?;
        Ok(self.url(&database))
    }

    /// Runs SQL as the superuser and returns its rows, one a line, columns parted by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = tool(&self.programs.join("psql"));
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        output(psql.arg(self.url(database)))
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Stops the server and starts it again on the same data and port.
    pub fn restart(&self, stop: Stop) -> Result<()> {
        let signal = match stop {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        self.server.stop(signal, STOP)?;
        self.launch()
    }

    /// Kills the postmaster and every backend at once, as a crash of the machine would.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill9()
    }

    /// Starts it again on the same data and port after `kill9`.
    pub fn start_again(&self) -> Result<()> {
        self.launch()
    }

    /// Stops all its processes: connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.server.signal_all(Signal::STOP);
    }

    /// Lets it go on after `freeze`.
    pub fn thaw(&self) {
        self.server.signal_all(Signal::CONT);
    }

    fn make_cluster(&self, command: Command, what: &str) -> Result<()> {
        let mut making = self.server.keeper.spawn(command, "made.log", "made.log")?;
        if !making.wait(INITDB)?.success() {
            bail!("{what} failed\n{}", making.said_last());
        }
        Ok(())
    }

    fn launch(&self) -> Result<()> {
        let mut command = self.command("postgres", Signal::QUIT);
        command.args(["-D", "data", "-p", &self.port.number.to_string()]);
        let settings = SETTINGS.iter().copied().chain([self.fsync]);
        command.args(settings.flat_map(|setting| ["-c", setting]));
        let mut ready = tool(&self.programs.join("pg_isready"));
        ready.args(["-q", "-t", "1", "-h", "127.0.0.1", "-p", &self.port.number.to_string()]);
        self.server.launch(command, || ready.status().is_ok_and(|status| status.success()))
    }

    fn command(&self, program: &str, farewell: Signal) -> Command {
        let mut command = self.server.keeper.command(self.programs.join(program), farewell);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.server.stop(Signal::QUIT, Duration::from_secs(3));
        // An immediate stop removes this file and the small System V segment that its seventh line
        // names, `<key> <id>`. After a `kill9` both remain, and the kernel would keep the second.
        let left = self.server.keeper.folder().join("data/postmaster.pid");
        let left = std::fs::read_to_string(left).unwrap_or_default();
        if let Some(id) = left.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = output(tool("ipcrm".as_ref()).args(["-m", id]));
        }
    }
}

/// The user and group of `postgres`, which its package makes; else of `nobody`.
fn server_user() -> Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let find = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .context("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
}
