//! A private Redis (or Valkey) that keeps nothing on disk.

use std::sync::OnceLock;

use anyhow::Result;
use rustix::process::Signal;

use super::port::Port;
use super::server::{Server, answers, find};

/// A Redis of one test or, by [`Redis::shared`], of one test binary.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: Port,
}

impl Redis {
    /// Starts a server of its own; about 20 ms.
    pub fn start() -> Result<Redis> {
        let redis = Redis { server: Server::new("redis")?, port: Port::claim()? };
        redis.launch()?;
        Ok(redis)
    }

    /// The server of this test binary, started by whoever asks first and ended with the process.
    ///
    /// Keys are shared too: prefix yours, and never `FLUSHALL`; who needs that starts one.
    pub fn shared() -> &'static Redis {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Redis::start().unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// Where it listens, as `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port.number)
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Kills it as a crash would: all keys are lost.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill9()
    }

    /// Starts it again at the same port after `kill9`, empty.
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

    fn launch(&self) -> Result<()> {
        let remedy = "install the package redis-server";
        let program =
            find("redis-server", &[], remedy).or_else(|_| find("valkey-server", &[], remedy))?;
        let mut command = self.server.keeper.command(program, Signal::KILL);
        let port = self.port.number.to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
        self.server.launch(command, || answers(self.port.number, b"PING\r\n", b"+PONG"))
    }
}
