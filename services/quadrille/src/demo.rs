//! `quadrille demo`: orders that end well and badly, drawn while they happen, then audited.
mod found;
mod rest;
mod show;
mod story;

use crate::audit::{Audit, audit};
use crate::everyone::{self, Everyone, Stores, open_stores};
use crate::screen::{Output, Screen, note, say, say_json};
use anyhow::{Context, Result, anyhow};
use futures_util::future::try_join;
use quadrille_contracts::OrderId;
use quadrille_runtime::clock::{Clock, SystemClock};
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::{Failed, stop_on_signal};
use quadrille_runtime::local::Local;
use quadrille_runtime::platform::Platform;
use show::Told;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::{STORIES, Story};
use uuid::Uuid;

/// How long the services may take to begin, and anything else that should take no time.
const SOON: Duration = Duration::from_secs(10);

/// How often a waiting demo looks again: often enough to look live.
const LOOK: Duration = Duration::from_millis(3);

/// What `quadrille demo` was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept; none: nowhere.
    pub data: Option<PathBuf>,
    pub output: Output,
}

/// Plays all stories, and says how they ended.
///
/// # Errors
/// If one did not end as told, or the audit finds something.
pub async fn demo(config: Config, options: Options) -> Result<(), Failed> {
    // Whatever the environment names, a demo plays with nobody's real servers and data.
    let config = Config {
        amqp_url: None,
        postgres_url: None,
        redis_url: None,
        payment_url: None,
        carrier_url: None,
        http: None,
        data: options.data,
        ..config
    };
    let stop = stop_on_signal();
    let platform = Arc::new(Platform::open(config, "demo").await?);
    let stores = open_stores(&platform).await?;
    let everyone = Everyone::start(&platform, &stores, &stop)?;
    let stage = Stage { platform, stores, output: options.output, screen: Screen::of_stdout() };
    let (played, ended) = {
        let mut ended = pin!(everyone.ended());
        let first = tokio::select! {
            biased;
            ended = &mut ended => Err(ended),
            played = stage.play() => Ok(played),
        };
        stop.cancel();
        match first {
            Err(ended) => (stage.interrupted(), ended),
            Ok(played) => (played, ended.await),
        }
    };
    stage.platform.close().await;
    everyone::close(&stage.stores).await;
    ended.and(played)
}

/// Everything that the stories are played on.
struct Stage {
    platform: Arc<Platform>,
    stores: Stores,
    output: Output,
    screen: Screen,
}

impl Stage {
    async fn play(&self) -> Result<(), Failed> {
        let began = Instant::now();
        self.ready().await.map_err(Failed::bug)?;
        if self.platform.config().data.is_some() {
            self.finish_what_was_found().await?;
        }
        let cast: Vec<_> = STORIES.iter().map(|story| (story, OrderId(Uuid::now_v7()))).collect();
        self.stock().await.map_err(Failed::bug)?;
        let commands = story::send(self, &cast);
        let (_, told) = try_join(commands, self.show(&cast)).await.map_err(Failed::bug)?;
        let left = self.rest(SOON).await.map_err(Failed::bug)?;
        if let Some(left) = left {
            return Err(Failed::wrong(anyhow!("not at rest after {SOON:?}: {left}")));
        }
        self.conclude(&told, began).await
    }

    /// The table, the audit and the verdict.
    async fn conclude(&self, told: &[Told], began: Instant) -> Result<(), Failed> {
        let report = audit(&self.stores, Audit { settled: true }).await.map_err(Failed::bug)?;
        let took_ms = began.elapsed().as_millis() as u64;
        if self.output == Output::Json {
            let answer = serde_json::json!({
                "stories": told, "audit": report, "took_ms": took_ms,
            });
            say_json(&answer)?;
        } else {
            say(show::table(told, self.screen))?;
            say(format_args!("\nAudit of everything in the journals\n{report}"))?;
        }
        let as_told = told.iter().filter(|told| told.as_told).count();
        if as_told < told.len() {
            let wrong = told.len() - as_told;
            return Err(Failed::wrong(anyhow!("{wrong} orders did not end as told")));
        }
        report.verdict()?;
        if self.output == Output::Text {
            let first = told.first().map_or_else(String::new, |told| told.order.to_string());
            say(self.farewell(as_told, took_ms, &first))?;
        }
        Ok(())
    }

    fn farewell(&self, stories: usize, took_ms: u64, order: &str) -> String {
        let took = format!("{}.{:02} s", took_ms / 1000, took_ms % 1000 / 10);
        let next = match &self.platform.config().data {
            Some(data) => {
                let data = data.display();
                format!(
                    "Look closer:  quadrille history {order} --data {data}\n\
                     Again:        quadrille demo --data {data}   (kill it whenever you like)"
                )
            }
            None => "Keep it:      quadrille demo --data DIR   (kill it whenever you like)\n\
                     Your orders:  quadrille up"
                .to_owned(),
        };
        format!(
            "\nAll {stories} orders ended as told, in {took}. The audit found nothing.\n\n{next}\n"
        )
    }

    fn interrupted(&self) -> Result<(), Failed> {
        let remedy = match &self.platform.config().data {
            Some(data) => format!("`quadrille demo --data {}` goes on from here", data.display()),
            None => "nothing is kept without --data".to_owned(),
        };
        Err(Failed::wrong(anyhow!("stopped before the end; {remedy}")))
    }

    /// Waits until all services consume.
    async fn ready(&self) -> Result<()> {
        let until = Instant::now() + SOON;
        loop {
            let all = self.platform.readiness();
            if all.len() == everyone::SERVICES.len() && all.iter().all(|one| one.ready) {
                return Ok(());
            }
            look_again(until, || format!("the services are not ready: {all:?}")).await?;
        }
    }

    fn broker(&self) -> Result<&Arc<Local>> {
        self.platform.local().context("a demo has the embedded broker")
    }

    /// For people only.
    fn say(&self, text: &str) -> Result<()> {
        match self.output {
            Output::Text => say(text).map_err(|failed| failed.error),
            Output::Json => {
                note(text.trim_end());
                Ok(())
            }
        }
    }
}

/// Pauses, unless it is too late.
async fn look_again(until: Instant, what: impl FnOnce() -> String) -> Result<()> {
    if Instant::now() >= until {
        return Err(anyhow!("too late: {}", what()));
    }
    SystemClock.sleep(LOOK).await;
    Ok(())
}
