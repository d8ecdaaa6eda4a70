//! A private RabbitMQ node with a fresh virtual host for every test.
//!
//! There is no management plugin, so that the node loads only what it serves. What a test changes
//! on the broker it changes with [`RabbitMq::rabbitmqctl`], an Erlang start of half a second each,
//! so virtual hosts are made sixteen at a time by one `rabbitmqctl eval`.
//!
//! The node has an `epmd` of its own, a child like the node itself: the one that Erlang would start
//! by itself is a daemon on port 4369 that outlives everything.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::port::Port;
use super::server::{Server, answers, find, output, tool};
use crate::keeper::Running;

/// Where Debian and Ubuntu keep the scripts themselves. Those on `PATH` there are wrappers that
/// want to be root or `rabbitmq`, and drop our environment on the way.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
const REMEDY: &str = "install the package rabbitmq-server";

/// How many virtual hosts one `rabbitmqctl eval` makes: thirty-two took 0.5 s more than none.
const VHOSTS_AT_ONCE: usize = 16;

/// What an AMQP client says first, and the first byte of a broker's answer: a method frame.
const AMQP_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD_FRAME: &[u8] = &[1];

/// A RabbitMQ node of one test or, by [`RabbitMq::shared`], of one test binary.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped before the server, whose keeper waits until the folder is gone. None: another's.
    _epmd: Option<(Running, Port)>,
    server: Server,
    amqp: Port,
    distribution: Port,
    epmd: u16,
    cookie: String,
    vhosts: Mutex<Vhosts>,
}

/// The virtual hosts that exist and were not given to a test yet.
#[derive(Debug, Default)]
struct Vhosts {
    made: usize,
    free: Vec<String>,
}

impl RabbitMq {
    /// Starts a node of its own; 6 to 10 s on two idle cores, twice that on busy ones.
    pub fn start() -> Result<RabbitMq> {
        Self::start_beside(None)
    }

    /// Starts a node that shares what nodes of one cluster must share with the first of them.
    pub(super) fn start_beside(first: Option<&RabbitMq>) -> Result<RabbitMq> {
        let server = Server::new("rabbitmq")?;
        let (amqp, distribution) = (Port::claim()?, Port::claim()?);
        let home = server.keeper.folder().join("home");
        fs::create_dir(&home).context("cannot make a home for the node")?;
        let secret = format!("quadrille-{}-{}", std::process::id(), amqp.number);
        let secret = first.map_or(secret, |first| first.cookie.clone());
        let cookie = home.join(".erlang.cookie");
        fs::write(&cookie, &secret).context("cannot write the cookie")?;
        fs::set_permissions(&cookie, Permissions::from_mode(0o400))
            .context("cannot protect the cookie: Erlang refuses one that others can read")?;
        write_configuration(&server, amqp.number).context("cannot configure the node")?;
        let own = match first {
            Some(_) => None,
            None => Some(start_epmd(&server)?),
        };
        let epmd = first.map_or_else(|| own.as_ref().map(|own| own.1.number), |f| Some(f.epmd));
        let epmd = epmd.expect("one's own or the first one's");
        let vhosts = Mutex::default();
        let node =
            RabbitMq { _epmd: own, server, amqp, distribution, epmd, cookie: secret, vhosts };
        node.launch()?;
        Ok(node)
    }

    /// The node of this test binary, started by whoever asks first and ended with the process.
    ///
    /// Take a [`RabbitMq::vhost`] each, and start one for faults that strike the whole node.
    pub fn shared() -> &'static RabbitMq {
        static SHARED: OnceLock<RabbitMq> = OnceLock::new();
        SHARED.get_or_init(|| RabbitMq::start().unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// The address of a virtual host, as `amqp://guest:guest@127.0.0.1:<port>/<vhost>`.
    pub fn url(&self, vhost: &str) -> String {
        // `/`, the name of the default one, is the only character of ours that a URL reserves.
        let vhost = vhost.replace('/', "%2f");
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.amqp.number)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.amqp.number).into()
    }

    /// Makes a fresh virtual host, with all permissions for `guest`, and returns its address.
    pub fn vhost(&self) -> Result<String> {
        let mut vhosts = self.vhosts.lock().unwrap_or_else(PoisonError::into_inner);
        if vhosts.free.is_empty() {
            let first = vhosts.made + 1;
            let last = vhosts.made + VHOSTS_AT_ONCE;
            self.rabbitmqctl(&["eval", &make_vhosts(first, last)])?;
            vhosts.made = last;
            vhosts.free = (first..=last).rev().map(vhost_name).collect();
        }
        let vhost = vhosts.free.pop().expect("the list was just filled");
        Ok(self.url(&vhost))
    }

    /// Runs `rabbitmqctl` against this node and returns what it printed; about 0.5 s, at most 60 s.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        let program = find("rabbitmqctl", &[PathBuf::from(SCRIPTS)], REMEDY)?;
        let mut command = tool(&program);
        self.configure(&mut command);
        output(command.args(["--quiet", "--node", &self.node_name()]).args(arguments))
    }

    /// Stops the broker inside the Erlang node: clients are told, connections are refused.
    pub fn stop_app(&self) -> Result<()> {
        self.rabbitmqctl(&["stop_app"]).map(drop)
    }

    /// Starts the broker again after `stop_app`; it accepts connections when this returns.
    pub fn start_app(&self) -> Result<()> {
        self.rabbitmqctl(&["start_app"]).map(drop)
    }

    /// Kills the node as a crash would: nobody is told, what was not on disk is lost.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill9()
    }

    /// Starts the node again after `kill9`, on the same data and ports; 6 to 10 s.
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

    /// The process id of the node.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn launch(&self) -> Result<()> {
        let program = find("rabbitmq-server", &[PathBuf::from(SCRIPTS)], REMEDY)?;
        let mut command = self.server.keeper.command(program, Signal::KILL);
        self.configure(&mut command);
        // The broker opens its port last, so an answer there means that it is up.
        self.server.launch(command, || answers(self.amqp.number, AMQP_HEADER, METHOD_FRAME))
    }

    /// `localhost` as the host's name resolves everywhere and keeps distribution on loopback.
    pub(super) fn node_name(&self) -> String {
        format!("quadrille-{}@localhost", self.amqp.number)
    }

    /// The same variables for the node and `rabbitmqctl`; nothing in `/etc/rabbitmq` is read.
    fn configure(&self, command: &mut Command) {
        let folder = self.server.keeper.folder();
        let loopback = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env("HOME", folder.join("home"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", self.node_name())
            .env("RABBITMQ_NODE_PORT", self.amqp.number.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution.number.to_string())
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback)
            .env("RABBITMQ_CTL_ERL_ARGS", loopback);
    }
}

fn start_epmd(server: &Server) -> Result<(Running, Port)> {
    let port = Port::claim()?;
    let mut command = server.keeper.command(find("epmd", &[], REMEDY)?, Signal::KILL);
    command.args(["-address", "127.0.0.1", "-port", &port.number.to_string()]);
    Ok((server.keeper.spawn(command, "epmd.log", "epmd.log")?, port))
}

fn write_configuration(server: &Server, port: u16) -> Result<()> {
    let folder = server.keeper.folder();
    let configuration = format!(
        "listeners.tcp.local = 127.0.0.1:{port}\n\
         cluster_partition_handling = pause_minority\n\
         log.console = true\n\
         log.console.use_colors = off\n\
         log.file = false\n"
    );
    fs::write(folder.join("rabbitmq.conf"), configuration)?;
    fs::write(folder.join("enabled_plugins"), "[].\n")?;
    Ok(())
}

fn vhost_name(number: usize) -> String {
    format!("test-{number}")
}

/// One Erlang expression that makes the virtual hosts `first..=last` and opens them to `guest`.
fn make_vhosts(first: usize, last: usize) -> String {
    let names: Vec<String> =
        (first..=last).map(|number| format!("<<\"{}\">>", vhost_name(number))).collect();
    format!(
        "[begin rabbit_vhost:add(V, <<\"tests\">>), rabbit_auth_backend_internal:set_permissions(\
         <<\"guest\">>, V, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"tests\">>) end \
         || V <- [{}]], ok.",
        names.join(", ")
    )
}
