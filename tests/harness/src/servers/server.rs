//! What every server has in common: a keeper, a process that can be started again, a probe.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::keeper::{Keeper, Running};

/// How long a server may take to start: five times what was measured on a busy machine.
const START: Duration = Duration::from_secs(90);

/// How long one probe may take, so that a server that accepts and says nothing fails by deadline.
const PROBE: Duration = Duration::from_secs(1);

/// The process of a server, its folder and its log. Fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    running: Mutex<Option<Running>>,
    pub(crate) keeper: Keeper,
}

impl Server {
    pub(crate) fn new(name: &'static str) -> Result<Server> {
        Ok(Server { name, running: Mutex::new(None), keeper: Keeper::new(name)? })
    }

    /// Starts the process and waits until `ready` says that it answers.
    pub(crate) fn launch(&self, command: Command, ready: impl FnMut() -> bool) -> Result<()> {
        let mut slot = self.slot();
        if let Some(running) = slot.as_mut()
            && running.ended()?.is_none()
        {
            bail!("{} already runs; kill it before starting it again", self.name);
        }
        let log = format!("{}.log", self.name);
        let mut running = self.keeper.spawn(command, &log, &log)?;
        running
            .wait_until("ready", START, ready)
            .with_context(|| format!("{} did not start", self.name))?;
        *slot = Some(running);
        Ok(())
    }

    /// Sends a signal to the server and all its processes.
    pub(crate) fn signal_all(&self, signal: Signal) {
        if let Some(running) = self.slot().as_ref() {
            running.signal_all(signal);
        }
    }

    /// Asks the server to stop in its own way and waits for its end; nothing if it does not run.
    pub(crate) fn stop(&self, signal: Signal, deadline: Duration) -> Result<()> {
        if let Some(running) = self.slot().as_mut() {
            running.signal(signal)?;
            running.wait(deadline).with_context(|| format!("{} does not stop", self.name))?;
        }
        Ok(())
    }

    /// Kills the server and all its processes, as a crash would.
    pub(crate) fn kill9(&self) -> Result<()> {
        self.signal_all(Signal::KILL);
        self.slot().as_mut().map_or(Ok(()), Running::kill9)
    }

    /// The process id of the server as it was last started.
    pub(crate) fn pid(&self) -> u32 {
        self.slot().as_ref().expect("a constructor returns only a launched server").pid()
    }

    /// A test that panicked while it held the lock leaves the process as it is: still to be killed.
    fn slot(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a server at this port answers `question` with bytes that begin with `answer`.
pub(crate) fn answers(port: u16, question: &[u8], answer: &[u8]) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, PROBE)?;
        stream.set_read_timeout(Some(PROBE))?;
        stream.set_write_timeout(Some(PROBE))?;
        stream.write_all(question)?;
        let mut heard = vec![0; answer.len()];
        stream.read_exact(&mut heard)?;
        Ok(heard == answer)
    };
    ask().unwrap_or(false)
}

/// Runs a tool of a server to its end, at most 60 s, and gives what it printed.
pub(crate) fn output(tool: &mut Command) -> Result<String> {
    let shown = format!("{tool:?}");
    let Output { status, stdout, stderr } =
        tool.output().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        let stdout = String::from_utf8_lossy(&stdout);
        let stderr = String::from_utf8_lossy(&stderr);
        bail!("{shown} ended with {status}\n{stdout}{stderr}");
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// A command that `timeout` of coreutils ends after a minute: no tool may hang a test run.
pub(crate) fn tool(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60"]).arg(program);
    command.stdin(std::process::Stdio::null()).env_clear().env("LANG", "C.UTF-8");
    command.envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "TMPDIR"));
    command
}

/// Finds a program in the given folders, then on `PATH`; the error says what to install.
pub(crate) fn find(program: &str, folders: &[PathBuf], remedy: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("no {program} on this machine: {remedy}, or run tests/run"))
}
