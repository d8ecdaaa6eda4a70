//! Processes that end where a test wants them to.

use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::{SOON, Stage};
use crate::keeper::Keeper;
use crate::process::{Program, faulty_bin};

/// How long a process may take to give way: it finishes what is under way.
const GRACE: Duration = Duration::from_secs(15);

impl Stage {
    /// Replaces a process of a service by one that ends at a fault point, as `committed:3:kill`.
    pub fn doom(&mut self, service: &'static str, fault: &str) -> Result<()> {
        // The program knows who it is by its name.
        let named = self.processes.keep(Keeper::new("faulty")?).join(service);
        symlink(faulty_bin()?, &named)?;
        let faulty = |program: &Program| Ok(program.at(named).env("QUADRILLE_FAULT", fault));
        self.processes.replace(service, GRACE, faulty)
    }

    /// True if the doomed process has met its fate; an error if it ended otherwise.
    pub fn is_dead(&mut self, service: &str) -> Result<bool> {
        let Some(status) = self.processes.first_ended(service)? else { return Ok(false) };
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        ensure!(killed, "{service} ended with {status}, not by its own hand");
        Ok(true)
    }

    /// Waits until the doomed process has met its fate.
    pub async fn wait_until_dead(&mut self, service: &str) -> Result<()> {
        let until = Instant::now() + SOON;
        while !self.is_dead(service)? {
            self.pause(until, || format!("{service} still lives")).await?;
        }
        Ok(())
    }

    /// Starts the next life of a doomed process, in which it is as it should be.
    pub fn revive_doomed(&mut self, service: &str) -> Result<()> {
        self.processes.revive_first(service)
    }

    /// Stops one of several processes of a service where it stands, or lets it go on.
    pub fn freeze_one(&mut self, service: &str, frozen: bool) -> Result<()> {
        self.processes.freeze_one(service, frozen)
    }

    /// Kills all processes of all services at once; nobody starts them again.
    pub fn kill_all(&mut self) -> Result<()> {
        quadrille::everyone::SERVICES.iter().try_for_each(|service| self.kill(service))
    }

    /// Places an order and waits until it is completed: how long that takes is how well all are.
    pub async fn probe(&self, deadline: Duration) -> Result<Duration> {
        let (order, began) = (super::OrderSpec::of("TEA"), Instant::now());
        self.place(&order).await?;
        let completed = self.wait_for(&order.order, "\"Completed\"", deadline).await;
        completed.context("an order that was placed after the fault")?;
        Ok(began.elapsed())
    }
}
