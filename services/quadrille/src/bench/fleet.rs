//! The processes of one form on one combination of parts, and where they find broker and store.
use super::{Form, Parts, process};
use crate::everyone::{Everyone, SERVICES, open_stores};
use anyhow::{Context, Result, bail};
use quadrille_harness::keeper::{Keeper, Running};
use quadrille_harness::servers::{Postgres, RabbitMq};
use quadrille_runtime::broker::Broker;
use quadrille_runtime::config::{Config, Flags};
use quadrille_runtime::platform::Platform;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Real servers: ours, started when they are first needed, or those that were named.
#[derive(Default)]
pub(super) struct Servers {
    pub(super) amqp_url: Option<String>,
    pub(super) postgres_url: Option<String>,
    rabbitmq: Option<RabbitMq>,
    postgres: Option<Postgres>,
}

impl Servers {
    pub(super) fn named(amqp_url: Option<String>, postgres_url: Option<String>) -> Self {
        Self { amqp_url, postgres_url, ..Self::default() }
    }

    /// A virtual host of its own if the broker is ours.
    fn amqp(&mut self) -> Result<String> {
        if let Some(url) = &self.amqp_url {
            return Ok(url.clone());
        }
        if self.rabbitmq.is_none() {
            eprintln!("starting a private RabbitMQ");
            let remedy =
                "starting a RabbitMQ: install rabbitmq-server, or name one with --amqp-url";
            self.rabbitmq = Some(RabbitMq::start().context(remedy)?);
        }
        self.rabbitmq.as_ref().context("it was just started")?.vhost()
    }

    /// A database of its own if the server is ours.
    fn postgres(&mut self) -> Result<String> {
        if let Some(url) = &self.postgres_url {
            return Ok(url.clone());
        }
        if self.postgres.is_none() {
            eprintln!("starting a private PostgreSQL");
            let remedy =
                "starting a PostgreSQL: install postgresql, or name one with --postgres-url";
            self.postgres = Some(Postgres::start_durable().context(remedy)?);
        }
        self.postgres.as_ref().context("it was just started")?.database()
    }

    /// The process ids of ours.
    fn pids(&self, parts: Parts) -> impl Iterator<Item = (String, u32)> {
        let rabbitmq = self.rabbitmq.as_ref().filter(|_| parts != Parts::Embedded);
        let postgres = self.postgres.as_ref().filter(|_| parts == Parts::Postgres);
        let broker = rabbitmq.map(|server| ("broker".to_owned(), server.pid()));
        broker.into_iter().chain(postgres.map(|server| ("database".to_owned(), server.pid())))
    }
}

/// All processes of one form, running; gone when this is dropped.
pub(super) struct Fleet {
    running: BTreeMap<&'static str, (Running, SocketAddr)>,
    /// Everything inside this process, for the embedded parts.
    inside: Option<(Arc<Platform>, CancellationToken)>,
    pub(super) amqp_url: Option<String>,
    pub(super) pids: BTreeMap<String, u32>,
    _keeper: Keeper,
}

impl Fleet {
    pub(super) async fn start(
        servers: &mut Servers,
        parts: Parts,
        form: Form,
        together: bool,
        story: &Path,
    ) -> Result<Self> {
        let keeper = Keeper::new("bench")?;
        let mut pids = BTreeMap::new();
        if parts == Parts::Embedded {
            let inside = Some(embedded(keeper.folder()).await?);
            pids.insert("all".to_owned(), std::process::id());
            let running = BTreeMap::new();
            return Ok(Self { running, inside, amqp_url: None, pids, _keeper: keeper });
        }
        let amqp_url = servers.amqp()?;
        let mut variables = vec![("QUADRILLE_AMQP_URL", amqp_url.clone())];
        match parts {
            Parts::Postgres => variables.push(("QUADRILLE_POSTGRES_URL", servers.postgres()?)),
            _ => variables.push(("QUADRILLE_DATA", keeper.folder().display().to_string())),
        }
        if form == Form::Bundled {
            variables.push(("QUADRILLE_BUNDLING", "on".to_owned()));
        }
        let mut running = BTreeMap::new();
        for service in if together { &["all"][..] } else { &SERVICES[..] } {
            let http = free_address()?;
            let mut command = form.command(&keeper, service, story)?;
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            command.env("QUADRILLE_HTTP", http.to_string()).env("QUADRILLE_LOG", "warn");
            let process =
                keeper.spawn(command, &format!("{service}.out"), &format!("{service}.err"));
            let process = process?;
            pids.insert((*service).to_owned(), process.pid());
            running.insert(*service, (process, http));
        }
        pids.extend(servers.pids(parts));
        let amqp_url = Some(amqp_url);
        Ok(Self { running, inside: None, amqp_url, pids, _keeper: keeper })
    }

    /// The broker of this process, if everything is embedded.
    pub(super) fn embedded(&self) -> Option<Arc<dyn Broker>> {
        self.inside.as_ref().map(|(platform, _)| platform.broker().clone())
    }

    /// Fails if a process has ended, with what it said last.
    pub(super) fn all_alive(&mut self) -> Result<()> {
        for (service, (process, _)) in &mut self.running {
            if let Some(status) = process.ended()? {
                bail!("{service} ended with {status}\n{}", process.said_last());
            }
        }
        Ok(())
    }

    /// Units of work and messages in them so far, of each process that counts them.
    pub(super) fn units(&self) -> BTreeMap<&'static str, (f64, f64)> {
        let units = self
            .running
            .iter()
            .filter_map(|(service, (_, http))| Some((*service, process::units(*http)?)));
        units.collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some((_, stop)) = &self.inside {
            stop.cancel();
        }
    }
}

async fn embedded(data: &Path) -> Result<(Arc<Platform>, CancellationToken)> {
    let flags = Flags { data: Some(data.to_owned()), ..Flags::default() };
    let config = Config::from_vars(&flags, BTreeMap::new())?;
    let platform = Arc::new(Platform::open(config, "bench").await?);
    let stores = open_stores(&platform).await?;
    let stop = CancellationToken::new();
    let everyone = Everyone::start(&platform, &stores, &stop).map_err(|failed| failed.error)?;
    tokio::spawn(everyone.ended());
    Ok((platform, stop))
}

impl Form {
    /// The program that is this form of a service, or of all of them.
    fn command(
        self,
        keeper: &Keeper,
        service: &str,
        story: &Path,
    ) -> Result<std::process::Command> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let program = match (self, service) {
            (Self::Ours | Self::Bundled | Self::Filled, "all") | (Self::Raw | Self::Naive, _) => {
                own
            }
            (Self::Ours | Self::Bundled | Self::Filled, _) => own.with_file_name(service),
        };
        if !program.is_file() {
            bail!("no {}: build all programs, cargo build --release", program.display());
        }
        let mut command = keeper.command(program, Signal::KILL);
        match self {
            Self::Ours | Self::Bundled | Self::Filled if service == "all" => command.arg("up"),
            Self::Ours | Self::Bundled | Self::Filled => &mut command,
            Self::Raw | Self::Naive => {
                command.args(["bench", "part", "--service", service, "--story"]).arg(story);
                if self == Self::Naive { command.arg("--naive") } else { &mut command }
            }
        };
        Ok(command)
    }
}

/// Free a moment ago: good enough for probes.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}
