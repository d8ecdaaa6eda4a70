//! The verbs of the command line with their flags and examples, and who answers each.
use crate::screen::{Output, note};
use crate::{audit, bench, check, demo, history, up};
use clap::{Args, Parser, Subcommand};
use quadrille_contracts::OrderId;
use quadrille_runtime::config::Flags;
use quadrille_runtime::entry;
use std::path::PathBuf;
use std::process::ExitCode;
use uuid::Uuid;

/// What is logged by a verb whose answer is what matters.
const QUIET: &str = "warn";

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   not as it should be: a violation, a fault, no such order
  64  a flag or setting is wrong
  69  broker or store cannot be reached
  70  a broken store, or a bug";

/// Choreography for services on RabbitMQ: run it, look into it, mend it.
#[derive(Debug, Parser)]
#[command(name = "quadrille", version, after_help = EXIT_CODES, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Play seven orders that end well and badly, draw them, and audit them
    #[command(after_help = DEMO)]
    Demo(Demo),
    /// Run all services in one process until Ctrl-C
    Up(Up),
    /// Show what happened to one order, across all services
    #[command(after_help = HISTORY)]
    History(History),
    /// Check what must be true of everything that happened
    #[command(after_help = AUDIT)]
    Audit(Audit),
    /// Explore every order of events with the shipped services
    #[command(after_help = CHECK)]
    Check(Check),
    /// Measure rate, latency and cost beside a naive form and one without logic
    Bench(Bench),
}

const DEMO: &str = "\
All services run in this process, on the embedded broker and SQLite. Nothing else is needed, and no
setting but QUADRILLE_LOG is used. With --data, kill it at any moment and start it again: it says
what it found, brings every order to its end, and plays new ones.

Examples:
  quadrille demo
  quadrille demo --data ./data

Exit codes: 0 all ended as told, 1 one did not, or the audit found something, 69 folder in use.";

#[derive(Debug, Args)]
struct Demo {
    /// Folder to keep everything in; none: nothing is kept
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
struct Up {
    #[command(flatten, next_help_heading = "Where it runs")]
    flags: Flags,
}

const HISTORY: &str = "\
Times are relative to the first step. An arrow leads from the service that published the cause.
Marks: ● went on   ✗ went wrong or was refused   ↶ undone   · only its own state changed

Examples:
  quadrille history 0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415 --data ./data
  quadrille history 0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415 --data ./data --at +250ms
  quadrille history 0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415 --data ./data -o json

Exit codes: 0 told, 1 no service has heard of it, 64 wrong flag, 69 no store.";

#[derive(Debug, Args)]
struct History {
    /// The order's id
    #[arg(value_name = "ORDER", value_parser = order_id)]
    order: OrderId,
    /// How it stood at a time, as 2026-11-21T10:45:00Z, or after its beginning, as +250ms
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<history::Moment>,
    #[command(flatten)]
    answer: Answer,
}

const AUDIT: &str = "\
Reads the journals of all services, changes nothing, and may run beside them.

Examples:
  quadrille audit --data ./data
  quadrille audit --postgres-url postgres://quadrille@localhost/quadrille --settled

Exit codes: 0 all as it must be, 1 a violation, 64 wrong flag, 69 no store.";

#[derive(Debug, Args)]
struct Audit {
    /// Nothing is under way any more: also check what must be true then, such as that all ended
    #[arg(long)]
    settled: bool,
    #[command(flatten)]
    answer: Answer,
}

const CHECK: &str = "\
Runs the same code as the services, in every order of messages, repeats, timers and answers.
Progress goes to standard error.

Examples:
  quadrille check
  quadrille check --scope 3b
  quadrille check --long -o json

Exit codes: 0 no fault, 1 a fault (with the shortest way to it), 64 no such scope.";

#[derive(Debug, Args)]
struct Check {
    /// Also the scopes that take minutes
    #[arg(long)]
    long: bool,
    /// Only this scope, such as 3b
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
struct Bench {
    #[command(flatten)]
    options: bench::Options,
    #[command(flatten, next_help_heading = "Servers to measure on")]
    flags: Flags,
}

/// How the answer looks.
#[derive(Debug, Args)]
struct Form {
    /// text for people, json for programs
    #[arg(short, long, value_name = "FORM", default_value = "text", hide_possible_values = true)]
    output: Output,
}

/// An answer that is read from stores.
#[derive(Debug, Args)]
struct Answer {
    #[command(flatten)]
    form: Form,
    #[command(flatten, next_help_heading = "Where the services keep their data")]
    stores: Stores,
}

#[derive(Debug, Args)]
struct Stores {
    /// The folder that they run with [variable: QUADRILLE_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Their database, as postgres://user:password@host:5432/database
    /// [variable: QUADRILLE_POSTGRES_URL]
    #[arg(long, value_name = "URL")]
    postgres_url: Option<String>,
}

impl Stores {
    fn flags(self) -> Flags {
        let Self { data, postgres_url } = self;
        Flags { data, postgres_url, log: Some(QUIET), ..Flags::default() }
    }
}

fn order_id(text: &str) -> Result<OrderId, String> {
    let example = "0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415";
    Uuid::parse_str(text)
        .map(OrderId)
        .map_err(|_| format!("an order's id is a UUID, such as {example}"))
}

/// Does what was asked.
pub fn run(cli: Cli) -> ExitCode {
    match cli.verb {
        Verb::Demo(Demo { data, form }) => {
            let flags = Flags { log: Some("error"), ..Flags::default() };
            let options = demo::Options { data, output: form.output };
            entry::process(&flags, |config| Ok(demo::demo(config, options)))
        }
        Verb::Up(Up { flags }) => entry::process(&flags, |config| Ok(up::up(config))),
        Verb::History(History { order, at, answer }) => {
            let output = answer.form.output;
            entry::process(&answer.stores.flags(), |config| {
                Ok(history::print(config, order, at, output))
            })
        }
        Verb::Audit(Audit { settled, answer }) => {
            let (how, output) = (audit::Audit { settled }, answer.form.output);
            entry::process(&answer.stores.flags(), |config| Ok(audit::print(config, how, output)))
        }
        Verb::Check(Check { long, scope, form }) => {
            let options = check::Options { long, scope, progress: |row| note(row) };
            let explore = async move { check::print(&options, form.output) };
            entry::process(&Flags::default(), |_| Ok(explore))
        }
        Verb::Bench(Bench { options, flags }) => {
            entry::process(&flags, |config| Ok(bench::bench(config, options)))
        }
    }
}
