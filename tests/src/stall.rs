//! Tells a machine that stood still from a program that did.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::keeper::Keeper;

/// How often a page is written: seldom enough to be no load of its own.
const EVERY: Duration = Duration::from_millis(100);

/// A pause and one page on the disk take no longer on a machine that works.
const STALL: Duration = Duration::from_secs(1);

/// Writes a page to the disk again and again, as long as it lives, and notes when that took long.
#[derive(Debug)]
pub struct Stalls {
    ended: Arc<Mutex<Vec<Instant>>>,
    /// Dropped, it ends the thread.
    _stop: Sender<()>,
}

impl Stalls {
    /// Begins to look.
    pub fn watch() -> Result<Self> {
        let keeper = Keeper::new("stalls")?;
        let page = File::create(keeper.folder().join("page")).context("making a file")?;
        let (stop, stopped) = channel();
        let ended = Arc::default();
        let noted = Arc::clone(&ended);
        thread::spawn(move || {
            look(&page, &stopped, &noted);
            drop(keeper);
        });
        Ok(Self { ended, _stop: stop })
    }

    /// True if the machine stood still for a while, and that ended after this moment.
    pub fn any_since(&self, moment: Instant) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().any(|end| *end > moment)
    }
}

fn look(page: &File, stopped: &Receiver<()>, noted: &Mutex<Vec<Instant>>) {
    let mut last = Instant::now();
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let written = page.write_all_at(&[1; 4096], 0).and_then(|()| page.sync_data());
        let now = Instant::now();
        if written.is_err() || now - last > STALL {
            println!("the machine stood still for {:?}", now - last);
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(now);
        }
        last = now;
    }
}
