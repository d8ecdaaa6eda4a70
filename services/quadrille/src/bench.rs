//! `quadrille bench`: how fast and how dear, side by side with the naive form and the raw form.
mod driver;
mod fleet;
mod plot;
mod process;
mod raw;
mod report;
mod rows;
mod run;
mod story;

use crate::everyone::SERVICES;
use anyhow::{Context, Result, bail};
use fleet::Servers;
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::{Failed, stop_on_signal};
use report::Report;
use run::Plan;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use story::Story;

/// What the services run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Parts {
    /// Everything inside this process, SQLite on the disk.
    Embedded,
    /// RabbitMQ and SQLite.
    Sqlite,
    /// RabbitMQ and PostgreSQL.
    Postgres,
}

/// How the messages are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The services as they are.
    Ours,
    /// The same with bundling on.
    Bundled,
    /// As they are, on stores that hold many finished orders: see `--prefill`.
    Filled,
    /// The same messages and rows in batches, without any logic.
    Raw,
    /// The same messages and rows one by one, each waited for.
    Naive,
}

/// Flags of `quadrille bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// What to measure on
    #[arg(long, value_enum, value_delimiter = ',', default_value = "embedded,sqlite,postgres")]
    parts: Vec<Parts>,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ours,bundled,raw,naive")]
    forms: Vec<Form>,
    /// How often; the forms take turns, and medians are told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Seconds at the highest rate, and again at the fixed rate, of each run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=3600))]
    seconds: u32,
    /// Orders under way while the highest rate is looked for
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    under_way: u32,
    /// Orders a second at the fixed rate
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Orders finished before the form `filled` is measured
    #[arg(long, default_value_t = 1_000_000)]
    prefill: u32,
    /// All services in one process instead of one process each
    #[arg(long)]
    together: bool,
    /// Also use servers that are not on this machine: they are filled with orders
    #[arg(long)]
    remote: bool,
    /// Print JSON instead of a table
    #[arg(short, long, value_parser = ["table", "json"], default_value = "table")]
    output: String,
    /// Write a plot, as SVG, into this file
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Part {
    /// One service of a form without logic; started by the bench itself
    #[command(hide = true)]
    Part {
        #[arg(long)]
        service: String,
        #[arg(long)]
        story: PathBuf,
        #[arg(long)]
        naive: bool,
    },
}

/// Measures as the flags say, and prints the result.
pub async fn bench(config: Config, options: Options) -> Result<(), Failed> {
    let done = match options.part.clone() {
        Some(Part::Part { service, story, naive }) => part(config, &service, story, naive).await,
        None => measure(&config, options).await,
    };
    done.map_err(Failed::bug)
}

async fn part(config: Config, service: &str, story: PathBuf, naive: bool) -> Result<()> {
    let story: Story = serde_json::from_slice(&std::fs::read(story)?)?;
    // For as long as the process: its texts are written over and over.
    let story: &'static Story = Box::leak(Box::new(story));
    let stop = stop_on_signal();
    let services = SERVICES.into_iter().filter(|name| [name, "all"].contains(&service));
    let all = services.map(|name| raw::serve(&config, name, story, naive, stop.clone()));
    futures_util::future::try_join_all(all).await?;
    Ok(())
}

async fn measure(config: &Config, options: Options) -> Result<()> {
    let url = |secret: &Option<quadrille_runtime::secret::Secret>| {
        secret.as_ref().map(|secret| secret.expose().to_owned())
    };
    let (amqp_url, postgres_url) = (url(&config.amqp_url), url(&config.postgres_url));
    for url in [&amqp_url, &postgres_url].into_iter().flatten() {
        if !options.remote && !is_local(url) {
            bail!("a server that is not on this machine: with --remote it is filled with orders");
        }
    }
    eprintln!("recording one order");
    let story = Story::record().await?;
    let file = tempfile(&serde_json::to_vec(&story)?)?;
    let mut servers = Servers::named(amqp_url, postgres_url);
    let mut report = Report::new(&options, &story);
    let mut filled = BTreeMap::new();
    for nth in 1..=options.runs {
        for parts in &options.parts {
            for form in &options.forms {
                let alone = matches!(form, Form::Ours | Form::Filled);
                if *parts == Parts::Embedded && !alone {
                    continue; // the other forms are about a broker
                }
                eprintln!("run {nth} of {}: {form:?} on {parts:?}", options.runs);
                let plan = Plan { parts: *parts, form: *form, options: &options, story: &file.0 };
                report.add(*parts, *form, plan.run(&mut servers, &mut filled).await?);
            }
        }
    }
    if let Some(path) = &options.plot {
        std::fs::write(path, plot::svg(&report))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if options.output == "json" {
        serde_json::to_writer_pretty(std::io::stdout(), &report.summary())?;
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

fn is_local(url: &str) -> bool {
    let host = url.rsplit('@').next().unwrap_or(url);
    let host = host.split_once("://").map_or(host, |(_, rest)| rest);
    ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local))
}

/// A file that is gone with this value.
struct Temporary(PathBuf);
impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn tempfile(bytes: &[u8]) -> Result<Temporary> {
    let path = std::env::temp_dir().join(format!("quadrille-story-{}.json", std::process::id()));
    std::fs::write(&path, bytes)?;
    Ok(Temporary(path))
}
