//! The senders in other languages, as an upstream system would run them: `tests/clients/`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Program;

/// How long one message may take, with the start of the interpreter: 0.2 s were measured.
const SEND: Duration = Duration::from_secs(30);

/// A language that has a sender in `tests/clients/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// `send.py`, with pika.
    Python,
    /// `send.js`, with amqplib.
    Node,
}

impl Sender {
    /// Every sender there is.
    pub const ALL: [Sender; 2] = [Sender::Python, Sender::Node];

    /// Publishes `body` to `quadrille.commands`; the error holds what the sender said.
    pub fn send(self, amqp_url: &str, routing_key: &str, body: &str) -> Result<()> {
        let program = self.program()?.env("AMQP_URL", amqp_url).arg(routing_key).arg(body);
        let mut sender = program.start().with_context(|| format!("cannot start {self:?}"))?;
        let status = sender.wait(SEND)?;
        if !status.success() {
            bail!("{self:?} ended with {status}: {}", sender.stderr().trim_end());
        }
        Ok(())
    }

    /// The interpreter with its script; its library must have been installed by `tests/run`.
    fn program(self) -> Result<Program> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (interpreter, installed, script) = match self {
            Sender::Python => {
                let python = tests.join("../target/python/bin/python");
                (python.clone(), python, tests.join("clients/python/send.py"))
            }
            Sender::Node => {
                let library = tests.join("clients/node/node_modules/amqplib");
                (PathBuf::from("node"), library, tests.join("clients/node/send.js"))
            }
        };
        if !installed.exists() {
            bail!("no {}: run `tests/run --only install`", installed.display());
        }
        Ok(Program::new(interpreter).arg(script))
    }
}
