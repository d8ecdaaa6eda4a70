//! The processes of a stage: all services in this one, or each in one or more of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use quadrille::everyone::{Everyone, SERVICES, Stores, open_stores};
use quadrille_runtime::config::{Config, Flags};
use quadrille_runtime::local::Local;
use quadrille_runtime::platform::Platform;
use quadrille_runtime::postgres::{PoolSize, Postgres};
use quadrille_runtime::sqlite::Sqlite;
use quadrille_runtime::store::Store;
use tokio_util::sync::CancellationToken;

use super::{Ground, SOON};
use crate::keeper::Keeper;
use crate::process::{Process, Program, target_bin};

/// What a process logs when its probes answer; the address stands behind it.
const PROBES: &str = "probes and metrics address=";

/// What a process logs when its queue is there and it listens.
const CONSUMING: &str = "consuming service=";

/// The processes, or the task that stands for all of them. Fields are dropped in this order.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    embedded: Option<Embedded>,
    running: Vec<Running>,
    /// Which process of a service is killed next.
    turn: usize,
    data: Option<PathBuf>,
    /// Removes what was made for them.
    kept: Vec<Keeper>,
}

#[derive(Debug)]
struct Embedded {
    everyone: Everyone,
    stop: CancellationToken,
    platform: Arc<Platform>,
}

#[derive(Debug)]
struct Running {
    service: &'static str,
    program: Program,
    process: Process,
}

impl Processes {
    pub(crate) async fn embedded() -> Result<(Processes, Stores, Arc<Local>)> {
        let config = Config::from_vars(&Flags::default(), BTreeMap::new())?;
        let platform = Arc::new(Platform::open(config, "test").await?);
        let stores = open_stores(&platform).await?;
        let stop = CancellationToken::new();
        let everyone = Everyone::start(&platform, &stores, &stop).map_err(|e| e.error)?;
        let local = platform.local().context("the broker is the embedded one")?.clone();
        let until = Instant::now() + SOON;
        while platform.readiness().len() < SERVICES.len()
            || !platform.readiness().iter().all(|readiness| readiness.ready)
        {
            if Instant::now() >= until {
                bail!("not ready: {:?}", platform.readiness());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let embedded = Some(Embedded { everyone, stop, platform });
        let processes = Processes { embedded, ..Processes::default() };
        Ok((processes, stores, local))
    }

    pub(crate) async fn on_files(
        amqp_url: &str,
        ground: Ground<'_>,
    ) -> Result<(Processes, Stores)> {
        let kept = Keeper::new("stage")?;
        let data = ground.data.unwrap_or(kept.folder()).to_owned();
        let variable = ("QUADRILLE_DATA", data.display().to_string());
        let mut processes = Processes::start(amqp_url, &variable, 1, ground)?;
        processes.wait_until_all_consume()?;
        let mut stores = Stores::new();
        for service in SERVICES {
            let file = data.join(format!("{service}.sqlite"));
            stores.insert(service, Arc::new(Sqlite::open_read_only(file)?) as Arc<dyn Store>);
        }
        processes.data = Some(data);
        processes.kept.push(kept);
        Ok((processes, stores))
    }

    pub(crate) async fn on_database(
        amqp_url: &str,
        postgres_url: &str,
        replicas: usize,
        ground: Ground<'_>,
    ) -> Result<(Processes, Stores)> {
        let variable = ("QUADRILLE_POSTGRES_URL", postgres_url.to_owned());
        let mut processes = Processes::start(amqp_url, &variable, replicas, ground)?;
        processes.wait_until_all_consume()?;
        let mut stores = Stores::new();
        for service in SERVICES {
            let store = Postgres::connect(postgres_url, service, PoolSize(1)).await?;
            stores.insert(service, Arc::new(store) as Arc<dyn Store>);
        }
        Ok((processes, stores))
    }

    fn wait_until_all_consume(&mut self) -> Result<()> {
        SERVICES.iter().try_for_each(|service| self.wait_until_consuming(service, 1))
    }

    fn start(
        amqp_url: &str,
        store: &(&str, String),
        replicas: usize,
        ground: Ground<'_>,
    ) -> Result<Processes> {
        let mut processes = Processes::default();
        for service in SERVICES {
            let mut program = Program::new(target_bin(service)?)
                .env("QUADRILLE_AMQP_URL", by(ground.broker_by, service, amqp_url)?)
                .env(store.0, by(ground.store_by, service, &store.1)?)
                .env("QUADRILLE_HTTP", "127.0.0.1:0")
                .env("NO_COLOR", "1");
            for (_, name, value) in ground.told.iter().filter(|(whose, ..)| *whose == service) {
                program = program.env(*name, value);
            }
            for _ in 0..replicas {
                let process = program.start()?;
                processes.running.push(Running { service, program: program.clone(), process });
            }
        }
        Ok(processes)
    }

    pub(crate) fn crash(&mut self, service: &str) -> Result<()> {
        self.turn += 1;
        let turn = self.turn;
        let mut processes: Vec<_> = self.of(service).collect();
        let count = processes.len();
        let one = &mut processes[turn % count];
        one.process.kill9()?;
        one.process = one.program.start()?;
        Ok(())
    }

    /// Kills every process of a service, and leaves it so.
    pub(crate) fn kill(&mut self, service: &str) -> Result<()> {
        self.of(service).try_for_each(|one| one.process.kill9())
    }

    /// Starts every process of a service that was killed.
    pub(crate) fn revive(&mut self, service: &str) -> Result<()> {
        self.of(service).try_for_each(|one| {
            one.process = one.program.start()?;
            Ok(())
        })
    }

    /// Has one process of a service give way to another program, as its next life will not.
    pub(crate) fn replace(
        &mut self,
        service: &str,
        grace: Duration,
        change: impl FnOnce(&Program) -> Result<Program>,
    ) -> Result<()> {
        let one = self.of(service).next().context("no such service")?;
        if one.process.ended()?.is_none() {
            one.process.terminate(grace)?;
        }
        one.process = change(&one.program)?.start()?;
        Ok(())
    }

    /// How the first process of a service ended, if it has.
    pub(crate) fn first_ended(&mut self, service: &str) -> Result<Option<ExitStatus>> {
        self.of(service).next().context("no such service")?.process.ended()
    }

    /// Starts the first process of a service again, as it should be.
    pub(crate) fn revive_first(&mut self, service: &str) -> Result<()> {
        let one = self.of(service).next().context("no such service")?;
        one.process = one.program.start()?;
        Ok(())
    }

    /// Keeps a folder for as long as anybody here runs.
    pub(crate) fn keep(&mut self, keeper: Keeper) -> &Path {
        self.kept.push(keeper);
        self.kept[self.kept.len() - 1].folder()
    }

    /// Stops one of several processes of a service where it stands, or lets it go on.
    pub(crate) fn freeze_one(&mut self, service: &str, frozen: bool) -> Result<()> {
        let one = self.of(service).next().context("no such service")?;
        if frozen {
            one.process.freeze()
        } else {
            one.process.thaw()
        }
        Ok(())
    }

    pub(crate) fn freeze(&self) {
        self.running.iter().for_each(|one| one.process.freeze());
    }

    pub(crate) fn thaw(&self) {
        self.running.iter().for_each(|one| one.process.thaw());
    }

    /// Waits until each process of a service has said so often that it consumes.
    pub(crate) fn wait_until_consuming(&mut self, service: &str, times: usize) -> Result<()> {
        let consuming = format!("{CONSUMING}\"{service}\"");
        for one in self.of(service) {
            let found = one.process.wait_for_lines(&consuming, times, SOON);
            found.with_context(|| format!("{service} does not consume"))?;
        }
        Ok(())
    }

    fn of(&mut self, service: &str) -> impl Iterator<Item = &mut Running> {
        self.running.iter_mut().filter(move |one| one.service == service)
    }

    pub(crate) async fn stop(&mut self, deadline: Duration) -> Result<Duration> {
        let began = Instant::now();
        if let Some(Embedded { everyone, stop, .. }) = self.embedded.take() {
            stop.cancel();
            let ended = tokio::time::timeout(deadline, everyone.ended()).await;
            ended.context("the embedded system does not stop")?.map_err(|failed| failed.error)?;
        }
        for one in &self.running {
            one.process.ask_to_end()?;
        }
        for one in &mut self.running {
            let rest = deadline.saturating_sub(began.elapsed());
            let status = one.process.wait(rest)?;
            if !status.success() {
                let said = one.process.stderr();
                let said: Vec<_> = said.lines().rev().take(20).collect();
                bail!("{} ended with {status}: {said:#?}", one.service);
            }
        }
        Ok(began.elapsed())
    }

    /// Asks every process to end; the exit codes of all, none for one that was killed.
    pub(crate) fn leave(&mut self, deadline: Duration) -> Result<Vec<Option<i32>>> {
        let began = Instant::now();
        for one in &self.running {
            one.process.ask_to_end()?;
        }
        let ended = self.running.iter_mut().map(|one| {
            let rest = deadline.saturating_sub(began.elapsed());
            Ok(one.process.wait(rest)?.code())
        });
        ended.collect()
    }

    pub(crate) fn start_again(&mut self) -> Result<()> {
        for one in &mut self.running {
            one.process = one.program.start()?;
        }
        Ok(())
    }

    pub(crate) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    pub(crate) fn logged(&self, service: &str, text: &str) -> Vec<String> {
        let of_service = self.running.iter().filter(|one| one.service == service);
        let said = of_service.map(|one| one.process.stderr());
        let lines = said.flat_map(|said| said.lines().map(ToOwned::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains(text)).collect()
    }

    /// Bytes of memory of the largest process.
    pub(crate) fn memory(&self) -> Result<u64> {
        let mut largest = 0;
        for one in &self.running {
            let status = format!("/proc/{}/status", one.process.pid());
            let status = std::fs::read_to_string(&status).context(status)?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes = resident.and_then(|line| line.split_whitespace().next());
            largest = largest.max(kilobytes.context("no size")?.parse::<u64>()? * 1024);
        }
        Ok(largest)
    }

    /// What `/metrics` says, of every process of a service.
    pub(crate) fn metrics(&mut self, service: &str) -> Result<Vec<String>> {
        if let Some(Embedded { platform, .. }) = &self.embedded {
            return Ok(vec![platform.metrics().text()]);
        }
        let mut all = Vec::new();
        for one in self.of(service) {
            let line = one.process.wait_for_line(PROBES, SOON)?;
            let address = line.rsplit('=').next().unwrap_or_default();
            let url = format!("http://{address}/metrics");
            let mut answer = ureq::get(&url).call().with_context(|| format!("asking {url}"))?;
            all.push(answer.body_mut().read_to_string()?);
        }
        Ok(all)
    }

    /// The most memory that each process of a service ever held, in bytes.
    pub(crate) fn memory_peaks(&mut self, service: &str) -> Result<Vec<u64>> {
        self.of(service).map(|one| one.process.memory_peak()).collect()
    }

    pub(crate) fn all_alive(&mut self) -> Result<()> {
        for one in &mut self.running {
            if let Some(status) = one.process.ended()? {
                let said = one.process.stderr();
                let said: Vec<_> = said.lines().rev().take(20).collect();
                bail!("{} ended with {status}: {said:#?}", one.service);
            }
        }
        Ok(())
    }

    /// The last lines of every log, for an error message.
    pub(crate) fn said_last(&self) -> String {
        let mut all = String::new();
        for one in &self.running {
            let said = one.process.stderr();
            let lines: Vec<_> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
            all.push_str(&format!("{} {}:\n  {last}\n", one.service, one.process.pid()));
        }
        all
    }
}

/// The address of a server, or of the proxy that stands before it for this service.
fn by(proxies: &[(&'static str, SocketAddr)], service: &str, url: &str) -> Result<String> {
    let Some((_, proxy)) = proxies.iter().find(|(whose, _)| *whose == service) else {
        return Ok(url.to_owned());
    };
    // scheme://user:password@host:port/rest
    let (before, rest) = url.split_once('@').context("no user in the URL")?;
    let (_, path) = rest.split_once('/').context("no path in the URL")?;
    Ok(format!("{before}@{proxy}/{path}"))
}
