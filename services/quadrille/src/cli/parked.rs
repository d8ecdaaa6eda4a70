//! `quadrille parked`: its verbs and flags.
use super::{Answer, help};
use crate::everyone::SERVICES;
use crate::{parked, settings};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use quadrille_runtime::admit::Reason;
use quadrille_runtime::entry::{self, Failed};
use quadrille_runtime::park::{DROPPED, PARKED, REDRIVEN, REDRIVING};
use std::process::ExitCode;
use uuid::Uuid;

#[derive(Debug, Args)]
pub(super) struct Parked {
    #[command(subcommand)]
    verb: Fate,
}

#[derive(Debug, Subcommand)]
enum Fate {
    /// List parked messages, oldest first
    #[command(after_help = help::LIST)]
    List(List),
    /// Show one message whole, and what was decided about it
    #[command(after_help = help::SHOW)]
    Show(Show),
    /// Have messages tried again
    #[command(after_help = help::REDRIVE)]
    Redrive(Decide),
    /// Give messages up; they stay readable
    #[command(after_help = help::DROP)]
    Drop(Decide),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    like: Like,
    /// parked, redriving (not tried yet), redriven or dropped
    #[arg(long, value_name = "STATUS", default_value = PARKED, hide_possible_values = true,
        value_parser = [PARKED, REDRIVING, REDRIVEN, DROPPED])]
    status: String,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, Args)]
struct Show {
    /// The id that `parked list` shows
    id: Uuid,
    #[command(flatten)]
    answer: Answer,
}

/// Which messages are meant.
#[derive(Debug, Args)]
struct Like {
    /// Only what this service parked
    #[arg(long, value_name = "NAME", value_parser = SERVICES)]
    service: Option<String>,
    /// Only what was parked for this reason, such as malformed_body
    #[arg(long, value_name = "WORD", value_parser = reason)]
    reason: Option<String>,
    /// Only messages of this name, such as order.place
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

impl Like {
    fn which(self, ids: Vec<Uuid>) -> parked::Which {
        let Self { service, reason, name, limit } = self;
        parked::Which { ids, service, reason, name, limit }
    }
}

#[derive(Debug, Args)]
struct Decide {
    /// These, as `parked list` shows them
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    /// All that are parked, up to the limit
    #[arg(long, conflicts_with_all = ["ids", "service", "reason", "name"])]
    all: bool,
    #[command(flatten)]
    like: Like,
    /// Do it; without this it is only shown what would be done
    #[arg(short, long)]
    yes: bool,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "not said")]
    why: String,
    /// Who decides; the name you are logged in with if not said
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    answer: Answer,
}

fn reason(text: &str) -> Result<String, String> {
    match Reason::ALL.iter().any(|known| known.as_str() == text) {
        true => Ok(text.to_owned()),
        false => {
            let all: Vec<_> = Reason::ALL.iter().map(|known| known.as_str()).collect();
            Err(format!("one of {}", all.join(", ")))
        }
    }
}

pub(super) fn run(Parked { verb }: Parked) -> ExitCode {
    match verb {
        Fate::List(List { like, status, answer }) => {
            let (which, output) = (like.which(Vec::new()), answer.form.output);
            let flags = answer.stores.flags();
            entry::process(&flags, |config| Ok(parked::list(config, which, status, output)))
        }
        Fate::Show(Show { id, answer }) => {
            let output = answer.form.output;
            let flags = answer.stores.flags();
            entry::process(&flags, |config| Ok(parked::show(config, id, output)))
        }
        Fate::Redrive(decide) => run_decide(parked::Fate::Redrive, decide),
        Fate::Drop(decide) => run_decide(parked::Fate::Drop, decide),
    }
}

fn run_decide(fate: parked::Fate, decide: Decide) -> ExitCode {
    let Decide { ids, all, like, yes, why, by, answer } = decide;
    let which = like.which(ids);
    if !all && which.is_anything() {
        return entry::exit(Err(Failed::config(anyhow!(
            "which messages? Name their ids, or --service, --reason or --name, or say --all"
        ))));
    }
    let by = by.unwrap_or_else(settings::person);
    let order = parked::Order { fate, by, why, yes };
    let output = answer.form.output;
    let flags = answer.stores.flags();
    entry::process(&flags, |config| Ok(parked::decide(config, which, order, output)))
}
