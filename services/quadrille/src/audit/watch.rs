//! `quadrille audit --every`: the same audit again and again beside the services, until a signal.
use super::{Audit, Report, SHOWN_MAX, audit};
use crate::everyone;
use crate::screen::{Output, note, say};
use jiff::Timestamp;
use quadrille_runtime::clock::{Clock, SystemClock};
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::{Failed, stop_on_signal};
use serde::Serialize;
use std::time::{Duration, Instant};

/// One audit of many.
#[derive(Debug, Serialize)]
struct Round {
    at: String,
    took_ms: u64,
    #[serde(flatten)]
    report: Report,
}

/// Prints a line for each audit, and what is wrong if something is; as JSON, one document a line.
///
/// A store that is away later on is told and waited for: its next audit comes in its turn.
///
/// # Errors
/// If the first audit cannot be made, or something was wrong in the last.
pub async fn watch(config: Config, every: Duration, output: Output) -> Result<(), Failed> {
    let stop = stop_on_signal();
    let mut last = Ok(());
    let mut first = true;
    loop {
        let round = tokio::select! {
            biased;
            () = stop.cancelled() => return last,
            round = round(&config) => round,
        };
        match round {
            Ok(round) => {
                tell(&round, output)?;
                last = round.report.verdict();
            }
            Err(failed) if first => return Err(failed),
            Err(failed) => note(format_args!("{}  not audited: {:#}", now(), failed.error)),
        }
        first = false;
        tokio::select! {
            biased;
            () = stop.cancelled() => return last,
            () = SystemClock.sleep(every) => {}
        }
    }
}

async fn round(config: &Config) -> Result<Round, Failed> {
    let (at, began) = (now(), Instant::now());
    let stores = everyone::look(config).await?;
    let report = audit(&stores, Audit::default()).await;
    everyone::close(&stores).await;
    let report = report.map_err(Failed::unavailable)?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Round { at, took_ms, report })
}

fn tell(round: &Round, output: Output) -> Result<(), Failed> {
    let Round { at, took_ms, report } = round;
    if output == Output::Json {
        let line = serde_json::to_string(round).map_err(Failed::bug)?;
        return say(format_args!("{line}\n"));
    }
    let facts: u64 = report.checked.iter().map(|(_, count)| count).sum();
    let verdict = match report.violations.len() {
        0 => "nothing is wrong".to_owned(),
        1 => "1 violation".to_owned(),
        n => format!("{n} violations"),
    };
    let mut text = format!("{at}  {verdict} in {facts} facts, {took_ms} ms\n");
    for violation in report.violations.iter().take(SHOWN_MAX) {
        text += &format!("{violation}\n");
    }
    say(text)
}

fn now() -> String {
    let now = Timestamp::from_second(SystemClock.now_ms() / 1_000);
    now.map_or_else(|_| "at an unknown time".to_owned(), |now| now.to_string())
}
