//! A temporary folder and the processes in it: both go with their test, however that ends.
//!
//! Three endings, one outcome. A test that returns or panics drops its [`Running`] and [`Keeper`],
//! which kill, reap and remove. A static is never dropped and a SIGKILL runs no destructor; for
//! these each keeper has a watchdog, a shell that reads a pipe held open by the test process
//! alone. When the kernel closes the pipe, the watchdog kills what is registered and removes the
//! folder. It needs neither `prctl` nor a signal handler, and nothing is ever killed by name.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a waiting test looks again.
const POLL: Duration = Duration::from_millis(10);

/// How long a process may take to die of SIGKILL: the kernel only has to free its memory.
const DEATH: Duration = Duration::from_secs(10);

/// How much of a log an error shows: a start-up failure is told in its last lines.
const TAIL_LINES: usize = 30;

/// Waits for the end of the test process, then ends what is left and removes the folder.
///
/// Each file of `pids` is named after a process group and holds the signal that ends it best. Who
/// does not go in 3 s is killed; a stopped process gets its signal only after SIGCONT; one that is
/// dead and that a lazy init has not reaped, as in some containers, has no `exe` in `/proc`.
const WATCHDOG: &str = r#"
read -r _
cd "$1/pids" || exit 0
for pid in [0-9]*; do
    [ -e "$pid" ] || continue
    read -r farewell <"$pid"
    kill -s "$farewell" "$pid"
    kill -s CONT "$pid"
    [ "$farewell" = KILL ] && continue
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        kill -s 0 "$pid" && { [ ! -e /proc/self ] || [ -e "/proc/$pid/exe" ]; } || break
        sleep 0.2
    done
done 2>/dev/null
for pid in [0-9]*; do
    [ -e "$pid" ] && kill -s KILL -- "-$pid"
done 2>/dev/null
cd /
rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1"; }
"#;

/// Registers its own process id, then becomes the program: there is no moment in which the program
/// runs and the watchdog does not know it. Without a folder to register in, it does not start.
const REGISTER: &str = r#"echo "$1" >"$2/$$" && shift 2 && exec "$@""#;

/// A private temporary folder with a watchdog.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    watchdog: Child,
}

impl Keeper {
    /// Makes `<temporary folder>/quadrille-<name>-<pid>-<n>`, readable by its owner alone.
    pub fn new(name: &str) -> Result<Keeper> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let folder = std::env::temp_dir().join(format!("quadrille-{name}-{pid}-{count}"));
        // A crashed machine may have left the name behind, never a living process: the pid is ours.
        let _ = fs::remove_dir_all(&folder);
        for made in [folder.clone(), folder.join("pids")] {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&made)
                .with_context(|| format!("cannot make the folder {}", made.display()))?;
        }
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "quadrille-watchdog"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: a Ctrl-C in the terminal ends the test, then the watchdog tidies up.
            .process_group(0)
            .spawn()
            .context("cannot start `sh` as a watchdog")?;
        Ok(Keeper { folder, watchdog })
    }

    /// The folder that is removed at the end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the folder to another user, for a server that refuses to run as root.
    pub(crate) fn give_to(&self, user: u32, group: u32) -> Result<()> {
        for given in [self.folder.clone(), self.folder.join("pids")] {
            chown(&given, Some(user), Some(group))
                .with_context(|| format!("cannot give {} to user {user}", given.display()))?;
        }
        Ok(())
    }

    /// A command that registers with the watchdog; add arguments and variables, then `spawn` it.
    ///
    /// Of the environment it has only `PATH`, `LANG` and `TMPDIR`, so that a developer's own
    /// `PGHOST` or `RABBITMQ_NODENAME` changes no test. `farewell` is what the watchdog sends to
    /// end it.
    pub fn command(&self, program: impl AsRef<Path>, farewell: Signal) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", REGISTER, "quadrille-start", signal_name(farewell)])
            .arg(self.folder.join("pids"))
            .arg(program.as_ref())
            .env_clear()
            .env("LANG", "C.UTF-8")
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "TMPDIR"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Starts a command made by `command`, with its output appended to two files of the folder.
    pub fn spawn(&self, mut command: Command, stdout: &str, stderr: &str) -> Result<Running> {
        let [stdout, stderr] = [stdout, stderr].map(|name| self.folder.join(name));
        let open = |path: &Path| File::options().create(true).append(true).open(path);
        command.stdout(open(&stdout).context("cannot make a file for the output")?);
        command.stderr(open(&stderr).context("cannot make a file for the errors")?);
        let child = command.spawn().context("cannot start `sh`")?;
        let pid = i32::try_from(child.id()).expect("a process id fits 31 bits");
        let leader = Pid::from_raw(pid).expect("no child has process id 0");
        let registered = self.folder.join("pids").join(pid.to_string());
        Ok(Running { child, leader, registered, stdout, stderr, ended: None })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Closing the pipe is the word to tidy up; waiting makes "dropped" mean "removed".
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// A process that was started and is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    leader: Pid,
    registered: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// The process id, also of the group it leads.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process alone: for those that ask it to end in its own way.
    ///
    /// Once it was reaped its number may be somebody else's, so then nothing is sent.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        kill_process(self.leader, signal)
            .with_context(|| format!("cannot send {} to {}", signal_name(signal), self.pid()))
    }

    /// Sends a signal to the process and all its descendants, also those that left its group, and
    /// waits until those that are to stop or to die have done so: a signal is sent at once, and
    /// obeyed when the kernel gets to it.
    ///
    /// The leader comes first, so that it cannot react to the death of its children.
    pub fn signal_all(&self, signal: Signal) {
        if self.ended.is_some() {
            return;
        }
        let all: Vec<Pid> = std::iter::once(self.leader).chain(descendants(self.leader)).collect();
        for pid in &all {
            // Who has ended meanwhile needs no signal.
            let _ = kill_process(*pid, signal);
        }
        let obeyed: &[char] = match signal {
            Signal::KILL => &['Z', 'X'],
            Signal::STOP => &['T', 't', 'Z', 'X'],
            _ => return,
        };
        let until = Instant::now() + DEATH;
        while Instant::now() < until
            && all.iter().any(|pid| states(*pid).iter().any(|state| !obeyed.contains(state)))
        {
            std::thread::sleep(POLL);
        }
    }

    /// Kills the process and its group, as a crash would, and reaps it.
    ///
    /// Not all its descendants: among those of a test process are watchdogs, which must survive it.
    pub fn kill9(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            // Fails only if the group has just ended, which `wait` finds out.
            let _ = kill_process_group(self.leader, Signal::KILL);
            self.wait(DEATH)?;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("cannot ask for the end of a child")?;
            if self.ended.is_some() {
                // Its number may now be given to somebody else: the watchdog must forget it.
                let _ = fs::remove_file(&self.registered);
            }
        }
        Ok(self.ended)
    }

    /// Waits for its end; an error after `deadline` shows what it said last.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= until {
                bail!("process {} still runs after {deadline:?}\n{}", self.pid(), self.said_last());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until `probe` says yes; an early end or `deadline` is an error that shows the log.
    pub fn wait_until(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut() -> bool,
    ) -> Result<()> {
        let until = Instant::now() + deadline;
        while !probe() {
            if let Some(status) = self.ended()? {
                bail!("ended with {status} before {what}\n{}", self.said_last());
            }
            if Instant::now() >= until {
                bail!("not {what} after {deadline:?}\n{}", self.said_last());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The end of both its outputs, for an error message.
    pub fn said_last(&self) -> String {
        let mut said = tail(&self.stdout);
        if self.stderr != self.stdout {
            said.push_str(&tail(&self.stderr));
        }
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill9();
    }
}

/// All living descendants of a process, read from `/proc` (on a system without it, none).
fn descendants(root: Pid) -> Vec<Pid> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything, so fields count from the last one.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// The states of all threads of a process, as `/proc` has them; none if it is gone.
fn states(pid: Pid) -> Vec<char> {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let state = |thread: io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    threads.into_iter().flatten().filter_map(state).collect()
}

/// The last lines of a log, with its name above them.
fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(cannot be read: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n  ");
    format!("the end of {}:\n  {last}\n", path.display())
}

/// The name that the shell's `kill -s` understands.
fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "INT",
        Signal::QUIT => "QUIT",
        Signal::TERM => "TERM",
        Signal::STOP => "STOP",
        Signal::CONT => "CONT",
        Signal::KILL => "KILL",
        other => unreachable!("no test sends {other:?}"),
    }
}
