//! The command line.
use clap::{Parser, Subcommand};
use quadrille::{bench, up};
use quadrille_runtime::config::Flags;
use quadrille_runtime::entry;
use std::process::ExitCode;

/// Choreography for services on RabbitMQ: run it, look into it, mend it.
#[derive(Parser)]
#[command(
    name = "quadrille",
    version,
    after_help = "Exit codes: 0 done, 1 not as it should be, \
    64 wrong setting, 69 broker or store unreachable, 70 broken store or bug."
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all services in one process until Ctrl-C.
    Up,
    /// Measures rate, latency and cost beside a naive form and one without logic.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let Cli { flags, command } = Cli::parse();
    match command {
        Command::Up => entry::process(&flags, |config| Ok(up::up(config))),
        Command::Bench(options) => {
            entry::process(&flags, |config| Ok(bench::bench(config, options)))
        }
    }
}
