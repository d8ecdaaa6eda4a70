//! A small disk of a test's own, which can be filled and made read only. Only root can make one.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, geteuid};

use crate::keeper::{Keeper, Running};

/// How long it may take to mount or to unmount.
const SOON: Duration = Duration::from_secs(10);

/// The same of a disk whose whole content can be copied in one moment: ext4 in a file on XFS.
const HOLD_CLONEABLE: &str = r#"
trap 'umount -l "$1/cut" "$1/disk" "$1/outer" 2>/dev/null' EXIT
trap 'exit 0' TERM
cd "$1" && mkdir outer disk cut || exit 1
truncate -s 2G outer.img && mkfs.xfs -q -m reflink=1 outer.img && mount -o loop outer.img outer &&
truncate -s 300M outer/disk.img && mkfs.ext4 -q outer/disk.img &&
mount -o loop outer/disk.img disk || exit 1
echo mounted
while :; do sleep 0.2; done
"#;

/// Holds the mount, and takes it away at its end: also if the test is killed, by the watchdog.
const HOLD: &str = r#"
trap 'umount -l "$1/disk"' EXIT
trap 'exit 0' TERM
mkdir "$1/disk" && mount -t tmpfs -o "size=$2k,mode=700" quadrille-test "$1/disk" || exit 1
echo mounted
while :; do sleep 0.2; done
"#;

/// Fields are dropped in this order.
#[derive(Debug)]
pub struct Disk {
    holder: Running,
    keeper: Keeper,
}

/// A disk as a power cut left it.
#[derive(Debug)]
pub struct Cut {
    copy: PathBuf,
    folder: PathBuf,
    mounted: bool,
}

impl Cut {
    /// Starts from it, as a machine does: the file system recovers first.
    pub fn mount(&mut self) -> Result<&Path> {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.copy, &self.folder]))?;
        self.mounted = true;
        Ok(&self.folder)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run(Command::new("umount").arg("-l").arg(&self.folder));
        }
        let _ = std::fs::remove_file(&self.copy);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let ended = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

impl Disk {
    /// A disk of so many KiB; none, and a word about it, if this user may not mount.
    pub fn new(kib: u32) -> Result<Option<Disk>> {
        Self::hold(HOLD, &kib.to_string())
    }

    /// A disk that [`Disk::cut`] can look at as a power cut would leave it; needs `mkfs.xfs`.
    pub fn cloneable() -> Result<Option<Disk>> {
        Self::hold(HOLD_CLONEABLE, "")
    }

    fn hold(script: &str, size: &str) -> Result<Option<Disk>> {
        if !geteuid().is_root() {
            println!("SKIPPED: only root can mount a disk of its own");
            return Ok(None);
        }
        let keeper = Keeper::new("disk")?;
        let mut command = keeper.command("sh", Signal::TERM);
        // Debian keeps what makes file systems where not everybody looks.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["-c", script, "quadrille-disk"]).arg(keeper.folder()).arg(size);
        let mut holder = keeper.spawn(command, "disk.log", "disk.log")?;
        let log = keeper.folder().join("disk.log");
        let mounted = || std::fs::read_to_string(&log).is_ok_and(|said| said.contains("mounted\n"));
        match holder.wait_until("mounted", SOON, mounted) {
            Ok(()) => Ok(Some(Disk { holder, keeper })),
            // Root in a container may not mount either, and not everybody has XFS.
            Err(error) => {
                println!("SKIPPED: cannot make a disk: {error:#}");
                Ok(None)
            }
        }
    }

    /// Copies the disk as it is in this moment, and gives what a machine finds on it that was cut
    /// off from power then. What was found before is gone.
    pub fn cut(&self) -> Result<Cut> {
        let outer = self.keeper.folder().join("outer");
        let (whole, copy) = (outer.join("disk.img"), outer.join("cut.img"));
        run(Command::new("cp").arg("--reflink=always").args([&whole, &copy]))?;
        Ok(Cut { copy, folder: self.keeper.folder().join("cut"), mounted: false })
    }

    /// Where it is.
    pub fn folder(&self) -> PathBuf {
        self.keeper.folder().join("disk")
    }

    /// Takes all the room that there is.
    pub fn fill(&self) -> Result<u64> {
        let mut file = File::create(self.filler()).context("the disk is full already")?;
        let (block, mut written) = ([0; 4096], 0);
        while let Ok(bytes) = file.write(&block) {
            written += bytes as u64;
        }
        Ok(written)
    }

    /// Gives it back.
    pub fn free(&self) -> Result<()> {
        std::fs::remove_file(self.filler()).context("it was not filled")
    }

    /// Nobody may have a file of it open for writing.
    pub fn read_only(&self, yes: bool) -> Result<()> {
        let option = if yes { "remount,ro" } else { "remount,rw" };
        run(Command::new("mount").args(["-o", option]).arg(self.folder()))
    }

    fn filler(&self) -> PathBuf {
        self.folder().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Killed, it would leave the mount.
        let _ = self.holder.signal(Signal::TERM);
        let _ = self.holder.wait(SOON);
    }
}
