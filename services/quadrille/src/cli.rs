//! The verbs of the command line with their flags, and who answers each.
mod help;
mod parked;

use crate::screen::{Output, note};
use crate::{
    audit, bench, check, declare, demo, describe, history, proxy, replay, settings, simulate, up,
};
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;
use quadrille_contracts::OrderId;
use quadrille_runtime::config::Flags;
use quadrille_runtime::entry;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use uuid::Uuid;

/// What is logged by a verb whose answer is what matters.
const QUIET: &str = "warn";

/// Audits do not follow each other faster.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Choreography for services on RabbitMQ: run it, look into it, mend it.
#[derive(Debug, Parser)]
#[command(name = "quadrille", version, after_help = help::EXIT_CODES, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Play seven orders that end well and badly, draw them, and audit them
    #[command(after_help = help::DEMO)]
    Demo(Demo),
    /// Run all services in one process until Ctrl-C
    #[command(after_help = help::UP)]
    Up(Up),
    /// Show what happened to one order, across all services
    #[command(after_help = help::HISTORY)]
    History(History),
    /// Check what must be true of everything that happened
    #[command(after_help = help::AUDIT)]
    Audit(Audit),
    /// Explore every order of events with the shipped services
    #[command(after_help = help::CHECK)]
    Check(Check),
    /// Run the shipped services for virtual hours while everything fails, and audit them
    #[command(after_help = help::SIMULATE)]
    Simulate(Simulate),
    /// Look at, try again or give up messages that nobody could use
    Parked(parked::Parked),
    /// Print who takes part and what goes between them, offline
    #[command(after_help = help::DESCRIBE)]
    Describe(Describe),
    /// Make what all services need on RabbitMQ, before the first of them runs
    #[command(after_help = help::DECLARE)]
    Declare(Declare),
    /// Print every setting, its value and where that is from
    #[command(after_help = help::SETTINGS)]
    Settings(Form),
    /// Measure rate, latency and cost beside two simpler forms
    Bench(Bench),
    /// Stand between services and a broker or database, and do harm
    #[command(after_help = help::PROXY)]
    Proxy(proxy::Options),
}

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

#[derive(Debug, Args)]
struct Audit {
    /// Nothing is under way any more: also check what must be true then, such as that all ended
    #[arg(long, conflicts_with = "every")]
    settled: bool,
    /// Again and again until Ctrl-C, as 10m or 1h; one line each
    #[arg(long, value_name = "TIME", value_parser = interval)]
    every: Option<Duration>,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, Args)]
struct Check {
    /// Also the scopes that take minutes
    #[arg(long)]
    long: bool,
    /// Only this scope, such as 3b
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    /// Folder that gets a file for each fault: the way to it, to be played again
    #[arg(long, value_name = "DIR")]
    schedules: Option<PathBuf>,
    /// Measure instead what threads and each reduction buy
    #[arg(long, conflicts_with_all = ["long", "schedules"])]
    compare: bool,
    /// Play such a file with the real runtime, and say whether the fault is there too
    #[arg(long, value_name = "FILE", conflicts_with_all = ["long", "scope", "schedules", "compare"])]
    replay: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
    #[command(flatten, next_help_heading = "What --replay plays it on")]
    flags: Flags,
}

#[derive(Debug, Args)]
struct Simulate {
    #[command(flatten)]
    options: simulate::Options,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
struct Describe {
    /// Pictures as Markdown: who hears what, and the states of each service
    #[arg(long, conflicts_with = "output")]
    mermaid: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
struct Declare {
    /// RabbitMQ, as amqp://user:password@host:5672/vhost
    /// [variable: QUADRILLE_AMQP_URL]
    #[arg(long, value_name = "URL")]
    amqp_url: Option<String>,
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

fn interval(text: &str) -> Result<Duration, String> {
    let every = text.parse::<SignedDuration>().ok().and_then(|every| every.try_into().ok());
    every.filter(|every| *every >= EVERY_MIN).ok_or_else(|| {
        format!("{text:?} is not a time of at least a second, such as 10m, 1h or 1d")
    })
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
        Verb::Audit(Audit { every: Some(every), answer, .. }) => {
            let output = answer.form.output;
            let flags = answer.stores.flags();
            entry::process(&flags, |config| Ok(audit::watch(config, every, output)))
        }
        Verb::Audit(Audit { settled, answer, .. }) => {
            let (how, output) = (audit::Audit { settled }, answer.form.output);
            entry::process(&answer.stores.flags(), |config| Ok(audit::print(config, how, output)))
        }
        Verb::Check(Check { replay: Some(file), flags, form, .. }) => {
            let flags = Flags { log: Some("error"), ..flags };
            entry::process(&flags, |config| Ok(replay::print(config, &file, form.output)))
        }
        Verb::Check(Check { scope, compare: true, form, .. }) => {
            entry::exit(check::print_comparison(scope.as_deref(), form.output))
        }
        Verb::Check(Check { long, scope, schedules, form, .. }) => {
            let progress: fn(&check::Told) = |told| note(told);
            let options = check::Options { long, scope, once: false, schedules, progress };
            entry::exit(check::print(&options, form.output))
        }
        Verb::Simulate(Simulate { options, form }) => {
            entry::exit(simulate::print(&options, form.output))
        }
        Verb::Parked(verb) => parked::run(verb),
        Verb::Describe(Describe { mermaid, form }) => entry::exit(describe::print(match mermaid {
            true => describe::Form::Mermaid,
            false => describe::Form::Words(form.output),
        })),
        Verb::Declare(Declare { amqp_url, form }) => {
            let flags = Flags { amqp_url, log: Some(QUIET), ..Flags::default() };
            entry::process(&flags, |config| Ok(declare::declare(config, form.output)))
        }
        Verb::Settings(form) => entry::exit(settings::print(form.output)),
        Verb::Bench(Bench { options, flags }) => {
            entry::process(&flags, |config| Ok(bench::bench(config, options)))
        }
        Verb::Proxy(options) => entry::process(&Flags::default(), |_| Ok(proxy::proxy(options))),
    }
}
