//! Our own programs as child processes: started, watched, killed and asked how they ended.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::keeper::{Keeper, Running};

/// The path of a program of this workspace, built with the same profile as the running test.
///
/// Cargo builds a package's program for the tests of that package alone, so `tests/run` builds the
/// workspace first.
pub fn target_bin(name: &str) -> Result<PathBuf> {
    let folder = profile_folder()?;
    let program = folder.join(name);
    if !program.is_file() {
        bail!(
            "no {}: build it with the tests' profile, cargo build --workspace",
            program.display()
        );
    }
    Ok(program)
}

/// All our programs with faults at their ports; see `fault_points` in the runtime.
pub fn faulty_bin() -> Result<PathBuf> {
    let built = "cargo build -p quadrille --features fault-points --bin quadrille-faulty";
    target_bin("quadrille-faulty").with_context(|| format!("with the tests' profile: {built}"))
}

/// True if test and programs were built with the release profile. Cargo tells nobody, and ours has
/// assertions too, so the name of the folder must do.
pub fn is_release() -> Result<bool> {
    Ok(profile_folder()?.file_name().is_some_and(|name| name == "release"))
}

fn profile_folder() -> Result<PathBuf> {
    let test = env::current_exe().context("cannot find the running test")?;
    // target/<profile>/deps/<test>-<hash>
    let folder = test.ancestors().nth(2).context("the test lies in no target folder")?;
    Ok(folder.to_owned())
}

/// A program with its arguments and variables, which can be started any number of times.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Program {
    /// Nothing of the test's environment reaches it but `PATH`, `LANG` and `TMPDIR`.
    pub fn new(path: impl AsRef<Path>) -> Program {
        Program { path: path.as_ref().to_owned(), arguments: Vec::new(), variables: Vec::new() }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Program {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Program {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Another program with the same arguments and variables.
    pub fn at(&self, path: impl AsRef<Path>) -> Program {
        Program { path: path.as_ref().to_owned(), ..self.clone() }
    }

    /// Starts it in a temporary folder of its own, where its output is kept until it is dropped.
    pub fn start(&self) -> Result<Process> {
        let keeper = Keeper::new("process")?;
        let mut command = keeper.command(&self.path, Signal::KILL);
        command.args(&self.arguments).env("RUST_BACKTRACE", "1");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let running = keeper.spawn(command, STDOUT, STDERR)?;
        Ok(Process { running, keeper })
    }
}

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// A started program; killed when this is dropped. Fields are dropped in this order.
#[derive(Debug)]
pub struct Process {
    running: Running,
    keeper: Keeper,
}

impl Process {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The most memory that it ever held, in bytes.
    pub fn memory_peak(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.context("no VmHWM: it has ended")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.read(STDOUT)
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.read(STDERR)
    }

    /// How many complete lines of both outputs contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.matching(text).len()
    }

    /// Waits for a line of either output that contains `text`, and returns the first one.
    ///
    /// A line counts when its line feed is there. If the program ends or `deadline` passes first,
    /// the error shows what it said last.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> Result<String> {
        self.wait_for_lines(text, 1, deadline).map(|mut lines| lines.swap_remove(0))
    }

    /// Waits until at least `count` lines contain `text`: the second "connected", after a fault.
    pub fn wait_for_lines(
        &mut self,
        text: &str,
        count: usize,
        deadline: Duration,
    ) -> Result<Vec<String>> {
        let Process { running, keeper } = self;
        let enough = || matching(keeper, text).len() >= count;
        let found = running.wait_until(&format!("a line with {text:?}"), deadline, enough);
        // Its last words may have come between the last look and its end.
        let lines = self.matching(text);
        if lines.len() < count {
            found?;
        }
        Ok(lines)
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) -> Result<()> {
        self.running.kill9()
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.running.signal(Signal::TERM)?;
        self.running.wait(deadline)
    }

    /// Asks it to end (SIGTERM) and does not wait.
    pub fn ask_to_end(&self) -> Result<()> {
        self.running.signal(Signal::TERM)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.running.ended()
    }

    /// Waits for it to end by itself; `code()` of the status is its exit code.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.running.wait(deadline)
    }

    /// Stops it: its connections stay open and it does nothing.
    pub fn freeze(&self) {
        self.running.signal_all(Signal::STOP);
    }

    /// Lets it go on after `freeze`.
    pub fn thaw(&self) {
        self.running.signal_all(Signal::CONT);
    }

    fn matching(&self, text: &str) -> Vec<String> {
        matching(&self.keeper, text)
    }

    fn read(&self, name: &str) -> String {
        read(&self.keeper, name)
    }
}

fn read(keeper: &Keeper, name: &str) -> String {
    let bytes = fs::read(keeper.folder().join(name)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn matching(keeper: &Keeper, text: &str) -> Vec<String> {
    [STDOUT, STDERR]
        .iter()
        .flat_map(|name| {
            let said = read(keeper, name);
            let lines = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let found = lines.filter(|line| line.contains(text));
            found.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
        })
        .collect()
}
